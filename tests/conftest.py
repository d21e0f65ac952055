"""Fixtures for all tests: certificates and the seed of random tests."""

import datetime as dt
import os
import zlib
from pathlib import Path

import pytest

from endpoint.testing.certificates import Chain, make_chain

# Take longer, and more than Python: `make contract` (needs root), `make counterparts`, and real peers.
collect_ignore = ["contract", "counterparts", "interop/peers_real"]


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of a random test: SIM_SEED if set, else one that only depends on the test's name."""
    given = os.environ.get("SIM_SEED")
    value = int(given) if given else zlib.crc32(request.node.nodeid.encode())
    # pytest shows the output of failed tests only.
    print(f"replay with SIM_SEED={value}")
    return value


@pytest.fixture(scope="session")
def valid_from() -> dt.datetime:
    """When the certificates of this run became valid: an hour ago."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(hours=1)


@pytest.fixture(scope="session")
def chain(valid_from: dt.datetime) -> Chain:
    """A leaf signed by the root, as in most tests of the interop runner."""
    return make_chain(valid_from)


@pytest.fixture(scope="session")
def long_chain(valid_from: dt.datetime) -> Chain:
    """The nine certificates of the runner's amplification test, about 10 kB."""
    return make_chain(valid_from, length=9, padding_names=20)


@pytest.fixture(scope="session")
def certificates(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `ca.pem`, `cert.pem` and `priv.key` of `chain`."""
    directory = tmp_path_factory.mktemp("certificates")
    chain.write(directory)
    return directory
