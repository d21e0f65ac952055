import time
from collections.abc import Callable

import pytest

from endpoint.tls.certificates import make_self_signed
from endpoint.tls.config import TlsConfig

MakeTls = Callable[..., TlsConfig]


@pytest.fixture(scope="session")
def server_tls() -> TlsConfig:
    certificate, key = make_self_signed(["localhost", "127.0.0.1", "::1"], time.time())
    return TlsConfig(alpn_protocols=("test",), certificate_chain=(certificate,), private_key=key)


@pytest.fixture(scope="session")
def client_tls(server_tls: TlsConfig) -> TlsConfig:
    return TlsConfig(alpn_protocols=("test",), trusted_roots=server_tls.certificate_chain)
