"""Every rule of the handshake that a peer can break, and the alert or error that it earns."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from endpoint.errors import AlertDescription, AlertError, TransportErrorCode
from endpoint.level import Level
from endpoint.tls import extensions as ext
from endpoint.tls.config import ClientAuthentication
from endpoint.tls.extensions import ExtensionType
from endpoint.tls.groups import SECP256R1, SECP384R1, X25519
from endpoint.tls.messages import (
    HELLO_RETRY_REQUEST_RANDOM,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    HandshakeType,
    ServerHello,
    encode_certificate,
    encode_certificate_list,
    encode_message,
)
from endpoint.tls.suites import TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384

A = AlertDescription
_CODECS: dict[int, Any] = {
    HandshakeType.CLIENT_HELLO: ClientHello,
    HandshakeType.SERVER_HELLO: ServerHello,
    HandshakeType.ENCRYPTED_EXTENSIONS: EncryptedExtensions,
    HandshakeType.CERTIFICATE_VERIFY: CertificateVerify,
    HandshakeType.CERTIFICATE_REQUEST: CertificateRequest,
}


def expect(error: Exception, expected: AlertDescription | TransportErrorCode) -> None:
    if isinstance(expected, AlertDescription):
        assert isinstance(error, AlertError)
        assert error.alert == expected, error
    else:
        assert not isinstance(error, AlertError)
        assert error.code == expected  # type: ignore[attr-defined]


def change(
    message_type: HandshakeType, edit: Callable[[Any], Any], occurrence: int = 1
) -> Callable[..., bytes]:
    """An interceptor that decodes, edits and encodes the nth message of a type."""
    count = 0

    def intercept(_sender: str, _level: Level, message: bytes) -> bytes:
        nonlocal count
        if message[0] != message_type:
            return message
        count += 1
        if count != occurrence:
            return message
        result = edit(_CODECS[message_type].parse(message[4:]))
        encoded: bytes = result if isinstance(result, bytes) else result.encode()
        return encoded

    return intercept


def with_extension(extension_type: int, body: bytes) -> Callable[[Any], Any]:
    """Set or add an extension."""
    return lambda message: replace(message, extensions={**message.extensions, extension_type: body})


def without_extension(extension_type: int) -> Callable[[Any], Any]:
    return lambda message: replace(
        message, extensions={key: body for key, body in message.extensions.items() if key != extension_type}
    )


def doubled(extension_type: int) -> Callable[[Any], bytes]:
    """The message with an extension twice."""

    def edit(message: Any) -> bytes:
        encoded: bytes = message.encode()
        once = extension_type.to_bytes(2, "big") + len(message.extensions[extension_type]).to_bytes(2, "big")
        once += message.extensions[extension_type]
        block = ext.encode_extensions(message.extensions)
        body = encoded[4 : -len(block)] + (len(block) - 2 + len(once)).to_bytes(2, "big") + block[2:] + once
        return encode_message(HandshakeType(encoded[0]), body)

    return edit


CLIENT_HELLO_RULES: dict[str, tuple[Callable[[Any], Any], AlertDescription | TransportErrorCode]] = {
    "legacy version": (lambda hello: replace(hello, legacy_version=0x0304), A.PROTOCOL_VERSION),
    "session id": (
        lambda hello: replace(hello, legacy_session_id=bytes(32)),
        TransportErrorCode.PROTOCOL_VIOLATION,
    ),
    "session id too long": (lambda hello: replace(hello, legacy_session_id=bytes(33)), A.DECODE_ERROR),
    "compression": (lambda hello: replace(hello, legacy_compression_methods=b"\1\0"), A.ILLEGAL_PARAMETER),
    "no suite": (lambda hello: replace(hello, cipher_suites=()), A.DECODE_ERROR),
    "unknown suites": (lambda hello: replace(hello, cipher_suites=(0x1304, 0x0A0A)), A.HANDSHAKE_FAILURE),
    "no versions": (without_extension(ExtensionType.SUPPORTED_VERSIONS), A.PROTOCOL_VERSION),
    "TLS 1.2 only": (with_extension(ExtensionType.SUPPORTED_VERSIONS, b"\2\3\3"), A.PROTOCOL_VERSION),
    "no groups": (without_extension(ExtensionType.SUPPORTED_GROUPS), A.MISSING_EXTENSION),
    "no key share": (without_extension(ExtensionType.KEY_SHARE), A.MISSING_EXTENSION),
    "no signature algorithms": (without_extension(ExtensionType.SIGNATURE_ALGORITHMS), A.MISSING_EXTENSION),
    "no parameters": (without_extension(ExtensionType.QUIC_TRANSPORT_PARAMETERS), A.MISSING_EXTENSION),
    "no ALPN": (
        without_extension(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION),
        A.NO_APPLICATION_PROTOCOL,
    ),
    "other ALPN": (
        with_extension(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION, ext.encode_alpn(("h2",))),
        A.NO_APPLICATION_PROTOCOL,
    ),
    "empty ALPN name": (
        with_extension(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION, b"\0\2\0\0"),
        A.DECODE_ERROR,
    ),
    "other groups": (
        lambda hello: with_extension(ExtensionType.KEY_SHARE, b"\0\0")(
            with_extension(ExtensionType.SUPPORTED_GROUPS, ext.encode_uint16_list((0x0100,)))(hello)
        ),
        A.HANDSHAKE_FAILURE,
    ),
    "share of a group not supported": (
        with_extension(ExtensionType.SUPPORTED_GROUPS, ext.encode_uint16_list((SECP256R1,))),
        A.ILLEGAL_PARAMETER,
    ),
    "two shares of a group": (
        with_extension(ExtensionType.KEY_SHARE, b"\0\x0a" + 2 * b"\0\x1d\0\1\0"),
        A.ILLEGAL_PARAMETER,
    ),
    "short share": (with_extension(ExtensionType.KEY_SHARE, b"\0\5\0\x1d\0\1\0"), A.ILLEGAL_PARAMETER),
    "zero share": (
        with_extension(ExtensionType.KEY_SHARE, ext.encode_key_shares({X25519: bytes(32)})),
        A.ILLEGAL_PARAMETER,
    ),
    "empty share": (with_extension(ExtensionType.KEY_SHARE, b"\0\4\0\x1d\0\0"), A.DECODE_ERROR),
    "other schemes": (
        with_extension(ExtensionType.SIGNATURE_ALGORITHMS, ext.encode_uint16_list((0x0804, 0x0401))),
        A.HANDSHAKE_FAILURE,
    ),
    "odd list": (with_extension(ExtensionType.SUPPORTED_GROUPS, b"\0\3\0\x1d\0"), A.DECODE_ERROR),
    "extension twice": (doubled(ExtensionType.SUPPORTED_GROUPS), A.ILLEGAL_PARAMETER),
    "oid_filters": (with_extension(ExtensionType.OID_FILTERS, b"\0\0"), A.ILLEGAL_PARAMETER),
    "two names": (
        with_extension(ExtensionType.SERVER_NAME, b"\0\x08\0\0\1a\0\0\1b"),
        A.ILLEGAL_PARAMETER,
    ),
    "name not ASCII": (with_extension(ExtensionType.SERVER_NAME, b"\0\5\0\0\2\xc3\xbc"), A.ILLEGAL_PARAMETER),
    "name of another type": (with_extension(ExtensionType.SERVER_NAME, b"\0\4\1\0\1a"), A.ILLEGAL_PARAMETER),
    "PSK not last": (
        lambda hello: replace(hello, extensions={ExtensionType.PRE_SHARED_KEY: b"", **hello.extensions}),
        A.ILLEGAL_PARAMETER,
    ),
    "PSK without modes": (
        lambda hello: with_extension(ExtensionType.PRE_SHARED_KEY, b"")(
            without_extension(ExtensionType.PSK_KEY_EXCHANGE_MODES)(hello)
        ),
        A.MISSING_EXTENSION,
    ),
}


@pytest.mark.parametrize("name", CLIENT_HELLO_RULES)
def test_client_hello(pki: Any, make_pair: Any, name: str) -> None:
    edit, expected = CLIENT_HELLO_RULES[name]
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.on_message = change(HandshakeType.CLIENT_HELLO, edit)
    expect(pair.failure(), expected)


@pytest.mark.parametrize(
    "edit",
    [
        with_extension(0x0A0A, b"grease"),
        with_extension(ExtensionType.EARLY_DATA, b""),
        lambda hello: replace(hello, cipher_suites=(0x0A0A, *hello.cipher_suites)),
        with_extension(ExtensionType.SUPPORTED_VERSIONS, b"\4\x0a\x0a\3\4"),
        with_extension(
            ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION, b"\0\x0e\2\xff\xfe\x0ahq-interop"
        ),
    ],
)
def test_server_ignores_what_it_does_not_know(pki: Any, make_pair: Any, edit: Callable[[Any], Any]) -> None:
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.on_message = change(HandshakeType.CLIENT_HELLO, edit)
    pair.client.start()
    ((level, hello),) = pair.client.take_output()
    pair.server.receive(level, pair.on_message("client", level, hello))
    assert len(pair.server.take_output()) == 5


SERVER_HELLO_RULES: dict[str, tuple[Callable[[Any], Any], AlertDescription]] = {
    "legacy version": (lambda hello: replace(hello, legacy_version=0x0304), A.PROTOCOL_VERSION),
    "TLS 1.2": (without_extension(ExtensionType.SUPPORTED_VERSIONS), A.PROTOCOL_VERSION),
    "TLS 1.2 without extensions": (
        lambda hello: encode_message(
            HandshakeType.SERVER_HELLO, b"\3\3" + hello.random + b"\0" + b"\xc0\x2f\0"
        ),
        A.PROTOCOL_VERSION,
    ),
    "downgrade": (
        lambda hello: replace(
            without_extension(ExtensionType.SUPPORTED_VERSIONS)(hello),
            random=hello.random[:24] + b"DOWNGRD\1",
        ),
        A.ILLEGAL_PARAMETER,
    ),
    "version not offered": (
        with_extension(ExtensionType.SUPPORTED_VERSIONS, b"\3\3"),
        A.ILLEGAL_PARAMETER,
    ),
    "session id": (lambda hello: replace(hello, legacy_session_id_echo=b"x"), A.ILLEGAL_PARAMETER),
    "session id too long": (
        lambda hello: replace(hello, legacy_session_id_echo=bytes(33)),
        A.DECODE_ERROR,
    ),
    "compression": (lambda hello: replace(hello, legacy_compression_method=1), A.ILLEGAL_PARAMETER),
    "suite not offered": (
        lambda hello: replace(hello, cipher_suite=TLS_AES_256_GCM_SHA384),
        A.ILLEGAL_PARAMETER,
    ),
    "no key share": (without_extension(ExtensionType.KEY_SHARE), A.MISSING_EXTENSION),
    "share of a group we sent none for": (
        with_extension(ExtensionType.KEY_SHARE, ext.encode_key_share(SECP256R1, b"\4" + bytes(64))),
        A.ILLEGAL_PARAMETER,
    ),
    "zero share": (
        with_extension(ExtensionType.KEY_SHARE, ext.encode_key_share(X25519, bytes(32))),
        A.ILLEGAL_PARAMETER,
    ),
    "pre_shared_key unasked": (
        with_extension(ExtensionType.PRE_SHARED_KEY, b"\0\0"),
        A.UNSUPPORTED_EXTENSION,
    ),
    "unknown extension": (with_extension(0x0A0A, b""), A.UNSUPPORTED_EXTENSION),
    "cookie": (with_extension(ExtensionType.COOKIE, b"\0\1c"), A.ILLEGAL_PARAMETER),
    "ALPN in the clear": (
        with_extension(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION, b"\0\3\2h3"),
        A.ILLEGAL_PARAMETER,
    ),
    "trailing byte": (
        lambda hello: encode_message(HandshakeType.SERVER_HELLO, hello.encode()[4:] + b"\0"),
        A.DECODE_ERROR,
    ),
}


@pytest.mark.parametrize("name", SERVER_HELLO_RULES)
def test_server_hello(pki: Any, make_pair: Any, name: str) -> None:
    edit, expected = SERVER_HELLO_RULES[name]
    client = pki.client_config(cipher_suites=(TLS_AES_128_GCM_SHA256,))
    pair = make_pair(client, pki.server_config())
    pair.on_message = change(HandshakeType.SERVER_HELLO, edit)
    expect(pair.failure(), expected)


RETRY_RULES: dict[str, tuple[Callable[[Any], Any], AlertDescription]] = {
    "changes nothing": (without_extension(ExtensionType.KEY_SHARE), A.ILLEGAL_PARAMETER),
    "group of a share": (with_extension(ExtensionType.KEY_SHARE, b"\0\x1d"), A.ILLEGAL_PARAMETER),
    "group not offered": (with_extension(ExtensionType.KEY_SHARE, b"\0\x19"), A.ILLEGAL_PARAMETER),
    "suite not offered": (lambda hello: replace(hello, cipher_suite=0x1304), A.ILLEGAL_PARAMETER),
    "empty cookie": (with_extension(ExtensionType.COOKIE, b"\0\0"), A.DECODE_ERROR),
    "extension not offered": (with_extension(0x0A0A, b""), A.UNSUPPORTED_EXTENSION),
    "no version": (without_extension(ExtensionType.SUPPORTED_VERSIONS), A.PROTOCOL_VERSION),
}


@pytest.mark.parametrize("name", RETRY_RULES)
def test_hello_retry_request(pki: Any, make_pair: Any, name: str) -> None:
    edit, expected = RETRY_RULES[name]
    pair = make_pair(pki.client_config(), pki.server_config(groups=(SECP384R1,)))
    pair.on_message = change(HandshakeType.SERVER_HELLO, edit)
    expect(pair.failure(), expected)


def test_second_hello_retry_request(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config(groups=(SECP384R1,)))
    pair.on_message = change(
        HandshakeType.SERVER_HELLO,
        lambda hello: replace(
            with_extension(ExtensionType.KEY_SHARE, b"\0\x17")(hello), random=HELLO_RETRY_REQUEST_RANDOM
        ),
        occurrence=2,
    )
    expect(pair.failure(), A.UNEXPECTED_MESSAGE)


def test_suite_changes_after_a_hello_retry_request(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config(groups=(SECP384R1,)))
    pair.on_message = change(
        HandshakeType.SERVER_HELLO,
        lambda hello: replace(hello, cipher_suite=TLS_AES_256_GCM_SHA384),
        occurrence=2,
    )
    expect(pair.failure(), A.ILLEGAL_PARAMETER)


def test_cookie_is_echoed(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config(groups=(SECP384R1,)))
    pair.on_message = change(
        HandshakeType.SERVER_HELLO, with_extension(ExtensionType.COOKIE, ext.encode_cookie(b"crumbs"))
    )
    # The server has not sent it, so that the transcripts differ; its first encrypted message tells.
    expect(pair.failure(), A.DECRYPT_ERROR)
    hellos = [ClientHello.parse(message[4:]) for _, _, message in pair.log if message[0] == 1]
    assert ExtensionType.COOKIE not in hellos[0].extensions
    assert ext.parse_cookie(hellos[1].extensions[ExtensionType.COOKIE]) == b"crumbs"
    assert hellos[0].random == hellos[1].random
    assert list(ext.parse_key_shares(hellos[1].extensions[ExtensionType.KEY_SHARE])) == [SECP384R1]


def test_hello_retry_request_with_a_cookie_only_keeps_the_share(pki: Any, make_pair: Any) -> None:
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.client.start()
    ((_, first),) = pair.client.take_output()
    fields = {int(ExtensionType.SUPPORTED_VERSIONS): b"\3\4", int(ExtensionType.COOKIE): b"\0\1c"}
    retry = ServerHello(HELLO_RETRY_REQUEST_RANDOM, TLS_AES_128_GCM_SHA256, fields).encode()
    pair.client.receive(Level.INITIAL, retry)
    ((_, second),) = pair.client.take_output()
    shares = [ClientHello.parse(each[4:]).extensions[ExtensionType.KEY_SHARE] for each in (first, second)]
    assert shares[0] == shares[1]


SECOND_HELLO_RULES: dict[str, Callable[[Any], Any]] = {
    "random": lambda hello: replace(hello, random=bytes(32)),
    "suites": lambda hello: replace(hello, cipher_suites=hello.cipher_suites[::-1]),
    "ALPN": with_extension(
        ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION, ext.encode_alpn(("hq-interop", "h3"))
    ),
    "groups": with_extension(ExtensionType.SUPPORTED_GROUPS, ext.encode_uint16_list((SECP384R1,))),
    "parameters": with_extension(ExtensionType.QUIC_TRANSPORT_PARAMETERS, b"others"),
    "name": without_extension(ExtensionType.SERVER_NAME),
    "early data": with_extension(ExtensionType.EARLY_DATA, b""),
    "no share": with_extension(ExtensionType.KEY_SHARE, b"\0\0"),
    "another share": with_extension(
        ExtensionType.KEY_SHARE, ext.encode_key_shares({SECP256R1: b"\4" + bytes(64)})
    ),
}


@pytest.mark.parametrize("name", SECOND_HELLO_RULES)
def test_second_client_hello(pki: Any, make_pair: Any, name: str) -> None:
    pair = make_pair(pki.client_config(), pki.server_config(groups=(SECP384R1,)))
    pair.on_message = change(HandshakeType.CLIENT_HELLO, SECOND_HELLO_RULES[name], occurrence=2)
    expect(pair.failure(), A.ILLEGAL_PARAMETER)


ENCRYPTED_EXTENSIONS_RULES: dict[str, tuple[Callable[[Any], Any], AlertDescription]] = {
    "no parameters": (without_extension(ExtensionType.QUIC_TRANSPORT_PARAMETERS), A.MISSING_EXTENSION),
    "no ALPN": (
        without_extension(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION),
        A.NO_APPLICATION_PROTOCOL,
    ),
    "ALPN not offered": (
        with_extension(ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION, ext.encode_alpn(("h3",))),
        A.ILLEGAL_PARAMETER,
    ),
    "two ALPN names": (
        with_extension(
            ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION, ext.encode_alpn(("hq-interop", "h3"))
        ),
        A.DECODE_ERROR,
    ),
    "key share": (with_extension(ExtensionType.KEY_SHARE, b""), A.ILLEGAL_PARAMETER),
    "early data unasked": (with_extension(ExtensionType.EARLY_DATA, b""), A.UNSUPPORTED_EXTENSION),
    "unknown": (with_extension(0xFAFA, b""), A.UNSUPPORTED_EXTENSION),
    "server name": (with_extension(ExtensionType.SERVER_NAME, b"\0"), A.DECODE_ERROR),
    "groups": (with_extension(ExtensionType.SUPPORTED_GROUPS, b"\0"), A.DECODE_ERROR),
    "twice": (doubled(ExtensionType.QUIC_TRANSPORT_PARAMETERS), A.ILLEGAL_PARAMETER),
    "changed on the way": (with_extension(ExtensionType.QUIC_TRANSPORT_PARAMETERS, b"x"), A.DECRYPT_ERROR),
}


@pytest.mark.parametrize("name", ENCRYPTED_EXTENSIONS_RULES)
def test_encrypted_extensions(pki: Any, make_pair: Any, name: str) -> None:
    edit, expected = ENCRYPTED_EXTENSIONS_RULES[name]
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.on_message = change(HandshakeType.ENCRYPTED_EXTENSIONS, edit)
    expect(pair.failure(), expected)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda request: replace(request, certificate_request_context=b"c"), A.ILLEGAL_PARAMETER),
        (without_extension(ExtensionType.SIGNATURE_ALGORITHMS), A.MISSING_EXTENSION),
        (with_extension(ExtensionType.KEY_SHARE, b""), A.ILLEGAL_PARAMETER),
        (with_extension(0x0A0A, b""), A.DECRYPT_ERROR),  # ignored; only the transcript tells
    ],
)
def test_certificate_request(
    pki: Any, make_pair: Any, edit: Callable[[Any], Any], expected: AlertDescription
) -> None:
    server = pki.server_config(
        client_authentication=ClientAuthentication.OPTIONAL, client_roots=(pki.root.certificate,)
    )
    pair = make_pair(pki.client_config(), server)
    pair.on_message = change(HandshakeType.CERTIFICATE_REQUEST, edit)
    expect(pair.failure(), expected)


def replace_message(message_type: HandshakeType, sender: str, replacement: bytes) -> Callable[..., bytes]:
    return lambda from_, _level, message: (
        replacement if message[0] == message_type and from_ == sender else message
    )


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        (encode_certificate(b"", encode_certificate_list(())), A.DECODE_ERROR),
        (encode_certificate(b"c", encode_certificate_list((b"x",))), A.ILLEGAL_PARAMETER),
        (encode_certificate(b"", encode_certificate_list((b"no certificate",))), A.BAD_CERTIFICATE),
        (encode_certificate(b"", encode_certificate_list((b"",))), A.DECODE_ERROR),
        (encode_certificate(b"", b"\0\0\x0a\0\0\1x\0\4\0\5\0\0"), A.UNSUPPORTED_EXTENSION),
        (encode_certificate(b"", b"\0\0\x0a\0\0\1x\0\4\0\x0a\0\0"), A.ILLEGAL_PARAMETER),
        (encode_certificate(b"", encode_certificate_list((b"x",) * 33)), A.BAD_CERTIFICATE),
    ],
)
def test_server_certificate(pki: Any, make_pair: Any, replacement: bytes, expected: AlertDescription) -> None:
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.on_message = replace_message(HandshakeType.CERTIFICATE, "server", replacement)
    expect(pair.failure(), expected)


def test_certificate_of_somebody_else(pki: Any, make_pair: Any) -> None:
    other = pki.server_config("p384").certificate_list
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.on_message = replace_message(HandshakeType.CERTIFICATE, "server", encode_certificate(b"", other))
    # The signature is made with a P-256 scheme, the certificate has a P-384 key.
    expect(pair.failure(), A.ILLEGAL_PARAMETER)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda verify: replace(verify, signature=b""), A.DECRYPT_ERROR),
        (lambda verify: replace(verify, signature=bytes(64)), A.DECRYPT_ERROR),
        (lambda verify: replace(verify, algorithm=0x0503), A.ILLEGAL_PARAMETER),
        (lambda verify: replace(verify, algorithm=0x0401), A.ILLEGAL_PARAMETER),
        (lambda verify: replace(verify, algorithm=0x0203), A.ILLEGAL_PARAMETER),
    ],
)
def test_certificate_verify(
    pki: Any, make_pair: Any, edit: Callable[[Any], Any], expected: AlertDescription
) -> None:
    pair = make_pair(pki.client_config(), pki.server_config())
    pair.on_message = change(HandshakeType.CERTIFICATE_VERIFY, edit)
    expect(pair.failure(), expected)


@pytest.mark.parametrize("sender", ["client", "server"])
def test_finished(pki: Any, make_pair: Any, sender: str) -> None:
    for length, expected in ((32, A.DECRYPT_ERROR), (31, A.DECODE_ERROR), (48, A.DECODE_ERROR)):
        pair = make_pair(pki.client_config(), pki.server_config())
        finished = encode_message(HandshakeType.FINISHED, bytes(length))
        pair.on_message = replace_message(HandshakeType.FINISHED, sender, finished)
        expect(pair.failure(), expected)
        assert not pair.server.complete
