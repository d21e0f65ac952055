"""What a certificate can be refused for in the handshake, on either side."""

from collections.abc import Callable
from typing import Any

import pytest

from endpoint.errors import AlertDescription, AlertError
from endpoint.tls.config import ClientAuthentication
from endpoint.tls.messages import HandshakeType, encode_certificate, encode_certificate_list

A = AlertDescription


def expect(error: Exception, expected: AlertDescription) -> None:
    assert isinstance(error, AlertError)
    assert error.alert == expected, error


def replace_message(message_type: HandshakeType, sender: str, replacement: bytes) -> Callable[..., bytes]:
    return lambda from_, _level, message: (
        replacement if message[0] == message_type and from_ == sender else message
    )


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        (encode_certificate(b"", encode_certificate_list(())), A.CERTIFICATE_REQUIRED),
        (encode_certificate(b"c", encode_certificate_list(())), A.ILLEGAL_PARAMETER),
        (encode_certificate(b"", encode_certificate_list((b"x",))), A.BAD_CERTIFICATE),
        (encode_certificate(b"", b"\0\0\x0a\0\0\1x\0\4\0\5\0\0"), A.UNSUPPORTED_EXTENSION),
    ],
)
def test_client_certificate(pki: Any, make_pair: Any, replacement: bytes, expected: AlertDescription) -> None:
    server = pki.server_config(
        client_authentication=ClientAuthentication.REQUIRED, client_roots=(pki.root.certificate,)
    )
    pair = make_pair(pki.client_config("p256"), server)
    pair.on_message = replace_message(HandshakeType.CERTIFICATE, "client", replacement)
    expect(pair.failure(), expected)


def test_client_without_a_certificate(pki: Any, make_pair: Any) -> None:
    server = pki.server_config(
        client_authentication=ClientAuthentication.REQUIRED, client_roots=(pki.root.certificate,)
    )
    expect(make_pair(pki.client_config(), server).failure(), A.CERTIFICATE_REQUIRED)


def test_client_certificate_of_another_ca(pki: Any, make_pair: Any) -> None:
    other = pki.make_root("other")
    server = pki.server_config(
        client_authentication=ClientAuthentication.OPTIONAL, client_roots=(other.certificate,)
    )
    expect(make_pair(pki.client_config("p256"), server).failure(), A.UNKNOWN_CA)


def test_wrong_name(pki: Any, make_pair: Any) -> None:
    error = make_pair(pki.client_config(), pki.server_config(), server_name="server5").failure()
    expect(error, A.BAD_CERTIFICATE)
    assert "server5" in str(error)


def test_unknown_ca(pki: Any, make_pair: Any) -> None:
    client = pki.client_config(trusted_roots=(pki.make_root("other").certificate,))
    expect(make_pair(client, pki.server_config()).failure(), A.UNKNOWN_CA)
