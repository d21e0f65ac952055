"""An endpoint opposite a raw peer, in any role and at any stage of the handshake."""

import datetime as dt
from collections.abc import Callable

import pytest

from endpoint.config import Config
from endpoint.level import Level
from endpoint.testing.certificates import Chain
from endpoint.testing.h3 import H3Session
from endpoint.testing.packets import Encoder, RawSession, raw_client_session, raw_server_session
from endpoint.testing.scenario import Scenario
from endpoint.wire.transport_params import encode_transport_parameters

SessionMaker = Callable[..., RawSession]
H3Maker = Callable[[str], H3Session]


@pytest.fixture
def wall_time(valid_from: dt.datetime) -> float:
    """A date at which the certificates are valid."""
    return valid_from.timestamp() + 3600


@pytest.fixture
def new_session(chain: Chain, wall_time: float) -> SessionMaker:
    """Make a session whose endpoint under test has the given role; nothing is delivered yet."""

    def make(
        role: str,
        *,
        config: Config | None = None,
        encode: Encoder = encode_transport_parameters,
        seed: int = 1,
    ) -> RawSession:
        maker = raw_client_session if role == "server" else raw_server_session
        return maker(chain, wall_time, config=config, encode=encode, seed=seed)

    return make


@pytest.fixture
def session_at(new_session: SessionMaker) -> SessionMaker:
    """Make a session in which the endpoint reads packets of the given level, and the peer too.

    At Level.ONE_RTT the handshake is complete, and confirmed at a server.
    """

    def make(role: str, level: Level, *, config: Config | None = None) -> RawSession:
        session = new_session(role, config=config)
        if level is Level.ONE_RTT:
            session.handshake()
            return session
        session.collect()
        # A server's answer to the first datagram of either kind makes Handshake keys.
        first, *session.held = session.raw.flight()
        session.deliver(first)
        return session

    return make


@pytest.fixture
def server(session_at: SessionMaker) -> RawSession:
    """A server whose handshake is confirmed."""
    return session_at("server", Level.ONE_RTT)


@pytest.fixture
def client(session_at: SessionMaker) -> RawSession:
    """A client whose handshake is complete, not confirmed."""
    return session_at("client", Level.ONE_RTT)


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> str:
    """The role of the endpoint under test."""
    return str(request.param)


@pytest.fixture
def session(role: str, session_at: SessionMaker) -> RawSession:
    """An endpoint of either role after the handshake."""
    return session_at(role, Level.ONE_RTT)


@pytest.fixture
def h3_at(chain: Chain, wall_time: float) -> H3Maker:
    """Make a session in which the endpoint under test has the given role, after the handshake."""

    def make(role: str) -> H3Session:
        scenario = Scenario(chain=chain, wall_time=wall_time, seed=1)
        return H3Session(scenario, role)

    return make


@pytest.fixture
def h3(h3_at: H3Maker, role: str) -> H3Session:
    """An HTTP/3 endpoint of either role after the handshake."""
    return h3_at(role)
