"""Settings that can't work are refused at once."""

from typing import Any

import pytest

from endpoint.tls.config import ClientAuthentication, TlsConfig
from endpoint.tls.groups import X25519, X25519MLKEM768
from endpoint.tls.keylog import key_log_line


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"alpn_protocols": ()}, "application protocol"),
        ({"alpn_protocols": ("",)}, "1 to 255"),
        ({"alpn_protocols": ("x" * 256,)}, "1 to 255"),
        ({"cipher_suites": ()}, "cipher_suites"),
        ({"cipher_suites": (0x1304,)}, "cipher_suites"),
        ({"groups": ()}, "groups"),
        ({"groups": (0x19,)}, "groups"),
        ({"groups": (X25519, X25519)}, "duplicate"),
        ({"groups": (X25519MLKEM768, X25519)}, "switches"),
        ({"client_authentication": ClientAuthentication.OPTIONAL}, "client_roots"),
        ({"ticket_count": -1}, "ticket_count"),
        ({"ticket_count": 17}, "ticket_count"),
        ({"ticket_lifetime": 0}, "ticket_lifetime"),
        ({"ticket_lifetime": 7 * 24 * 3600 + 1}, "ticket_lifetime"),
    ],
)
def test_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TlsConfig(**{"alpn_protocols": ("h3",), **settings})


def test_chain_and_key_come_together(pki: Any) -> None:
    leaf = pki.root.issue("", pki.keys["p256"])
    with pytest.raises(ValueError, match="together"):
        TlsConfig(alpn_protocols=("h3",), certificate_chain=(leaf,))
    with pytest.raises(ValueError, match="together"):
        TlsConfig(alpn_protocols=("h3",), private_key=pki.keys["p256"])
    for kind in ("p384", "rsa", "ed25519"):
        with pytest.raises(ValueError, match="does not belong"):
            TlsConfig(alpn_protocols=("h3",), certificate_chain=(leaf,), private_key=pki.keys[kind])


def test_key_log_line() -> None:
    line = key_log_line("CLIENT_TRAFFIC_SECRET_0", bytes(range(32)), b"\xab\xcd")
    assert line == f"CLIENT_TRAFFIC_SECRET_0 {bytes(range(32)).hex()} abcd"
