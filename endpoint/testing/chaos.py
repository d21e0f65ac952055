"""Everything at once: what a seed makes of links, settings, applications and moves.

Each single feature has scenarios of its own. Here they meet, as they do in the open: a migration during a
key update on a link that just lost the new connection IDs. All of it comes from one number, so whatever
goes wrong can be repeated. `Chaos(...)` makes the pair, `run` plays it to its end.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from endpoint.admission import always_retry
from endpoint.batch import Address
from endpoint.config import Config, CongestionAlgorithm
from endpoint.errors import MigrationError, TransportErrorCode
from endpoint.events import (
    ConnectionClosed,
    DatagramReceived,
    EarlyDataRejected,
    Event,
    HandshakeCompleted,
    SessionReceived,
    StreamReadable,
    StreamStopped,
)
from endpoint.testing.apps import READ_SIZE, ContentServer, Download
from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS, LinkProfile
from endpoint.testing.pair import Pair
from endpoint.testing.scenario import Scenario
from endpoint.tls.session import Session
from endpoint.trace import TracerFactory
from endpoint.transport.connection import Connection
from endpoint.wire.version import QUIC_V1, QUIC_V2

# Of unidirectional streams (RFC 9000 §2.1).
UNIDIRECTIONAL = 0x2
# Moves begin when a handshake is usually over, and end when a transfer usually is. Seconds.
FIRST_MOVE, LAST_MOVE = 0.05, 4.0
# No mix may take longer. Seconds of virtual time.
PATIENCE = 240.0
# Every few hundred bytes of side streams and datagrams.
MORSEL = b"morsel" * 50
# What a path may make of the ECN fields: nothing, bleaching, ECT(1), CE everywhere, losses.
ECN_PATHS: tuple[tuple[int | None, int | None, int | None, int | None], ...] = (
    (0, 1, 2, 3),
    (0, 0, 0, 0),
    (0, 1, 1, 3),
    (0, 3, 3, 3),
    (0, None, None, None),
)


class Restless(Download):
    """A download that asks as early as it can, and opens streams beside that nobody brings to an end."""

    def begin_early(self, connection: Connection) -> None:
        """Ask before the handshake, in 0-RTT packets."""
        Download.on_event(self, connection, HandshakeCompleted("", 0, ()), 0.0)

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        """What the download does, but for streams that are not its own."""
        if isinstance(event, HandshakeCompleted) and self.started_at is not None:
            return
        if isinstance(event, EarlyDataRejected | DatagramReceived | StreamStopped):
            return
        Download.on_event(self, connection, event, now)


class Patient(ContentServer):
    """A server that reads unidirectional streams to their end, or tells the client to stop."""

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        """Answer requests; of every other unidirectional stream it has enough at once."""
        if isinstance(event, StreamReadable) and event.stream_id & UNIDIRECTIONAL:
            if event.stream_id & 4:
                connection.stop_sending(event.stream_id, 7)
                return
            while True:
                data, fin = connection.read(event.stream_id, READ_SIZE)
                if fin or not data:
                    return
        ContentServer.on_event(self, connection, event, now)


class WholeRestless(Restless):
    """The same, but short answers that come at once are told by one event."""

    def on_events(self, connection: Connection, events: Sequence[Event], now: float) -> None:
        """One by one, but taken together."""
        connection.deliver_whole_streams()
        for event in events:
            self.on_event(connection, event, now)


class WholePatient(Patient):
    """The same, but requests that come in one frame are told by one event."""

    def on_events(self, connection: Connection, events: Sequence[Event], now: float) -> None:
        """One by one, but taken together."""
        connection.deliver_whole_streams()
        for event in events:
            self.on_event(connection, event, now)


@dataclass
class Chaos:
    """One mix. `told` says what it is made of; `scenario` can be changed before `run`.

    `whole`: both applications want short streams, of which there are many then, told by one event; see
    `Connection.deliver_whole_streams`.
    """

    scenario: Scenario
    whole: bool = False
    told: list[str] = field(default_factory=list)
    moves: list[tuple[float, str, Callable[[Pair], None]]] = field(default_factory=list)
    resume: bool = False

    def __post_init__(self) -> None:
        self._rng = random.Random(self.scenario.seed)  # noqa: S311 - has to be repeatable
        self.download = self._download()
        self._settings()
        self._links()
        self._moves()

    def run(self, tracer: TracerFactory | None = None) -> Pair:
        """Play it; raises AssertionError unless everything arrives undamaged in time."""
        scenario = self.scenario
        if self.resume:
            scenario.make_resumable()
            scenario.session = self._first_session()
            scenario.wall_time += 10.0
        if tracer is not None:
            scenario.client_config = replace(scenario.client_config, tracer=tracer)
            scenario.server_config = replace(scenario.server_config, tracer=tracer)
        pair = scenario.pair(self.download, WholePatient if self.whole else Patient)
        if pair.client.connection.sends_early_data:
            self.download.begin_early(pair.client.connection)
        for time, _, move in self.moves:
            if pair.run(self._is_over, deadline=time):
                break
            move(pair)
        finished = pair.run(self._is_over, deadline=PATIENCE)
        download = self.download
        if self._token_outlived_its_address(pair):
            return pair
        story = f"seed {scenario.seed} at {pair.now:.3f} s: {', '.join(self.told)}"
        assert not download.failure, f"{download.failure}; {story}"
        assert finished, f"{download.received_bytes} of {sum(download.sizes)} bytes; {story}"
        assert not download.damaged, story
        assert all(
            not end.application.damaged for end in pair.servers if isinstance(end.application, Patient)
        )
        pair.client.connection.close(now=pair.now)
        pair.run(deadline=pair.now + 60.0)
        return pair

    def _is_over(self) -> bool:
        return self.download.finished_at is not None or bool(self.download.failure)

    def _token_outlived_its_address(self, pair: Pair) -> bool:
        """A NAT changed its mind between Retry and handshake: RFC 9000 §8.1.3 wants that to be the end."""
        last = pair.client.events[-1] if pair.client.events else None
        refused = isinstance(last, ConnectionClosed) and last.error_code == TransportErrorCode.INVALID_TOKEN
        possible = {"retry", "rebinding"} <= set(self.told) and not pair.client.connection.handshake_complete
        return refused and possible

    def _first_session(self) -> Session | None:
        """A session from an undisturbed visit to the same server."""
        calm = replace(self.scenario, up=LinkProfile(), down=None, rebindings=())
        pair = calm.pair(Download(sizes=[10]), ContentServer)
        pair.run(
            lambda: any(isinstance(event, SessionReceived) for event in pair.client.events), deadline=9.0
        )
        found = [event for event in pair.client.events if isinstance(event, SessionReceived)]
        return Session.from_bytes(found[0].session) if found else None

    def _chance(self, probability: float, word: str) -> bool:
        """Whether a feature is in the mix; then it is told."""
        chosen = self._rng.random() < probability
        if chosen:
            self.told.append(word)
        return chosen

    def _download(self) -> Restless:
        rng = self._rng
        many = self._chance(0.3, "many streams") or self.whole
        sizes = [rng.randrange(1, 3000) for _ in range(60)] if many else []
        sizes += [rng.choice((100, 20_000, 300_000)) for _ in range(rng.randrange(1, 4))]
        upload = rng.choice((100, 30_000)) if self._chance(0.3, "upload") else 0
        kind = WholeRestless if self.whole else Restless
        return kind(sizes=sizes, upload=upload // (20 if many else 1))

    def _settings(self) -> None:
        client, server = Config(), Config()
        if self._chance(0.3, "small windows"):
            client = replace(client, initial_max_data=5000, initial_max_stream_data=2000)
            server = replace(server, initial_max_data=4000, initial_max_stream_data=3000)
        if self._chance(0.3, "few streams"):
            server = replace(server, initial_max_streams_bidi=3, initial_max_streams_uni=1)
        if self._chance(0.25, "2 CIDs of the server"):
            client = replace(client, active_connection_id_limit=2)
        if self._chance(0.25, "2 CIDs of the client"):
            server = replace(server, active_connection_id_limit=2)
        if self._chance(0.2, "empty CIDs"):
            client = replace(client, connection_id_length=0)
        if self._chance(0.3, "preferred address"):
            server = replace(server, preferred_ipv4=(SERVER_ADDRESS[0], 8443))
        if self._chance(0.15, "no active migration"):
            server = replace(server, disable_active_migration=True)
        if self._chance(0.25, "key updates"):
            client = replace(client, key_update_after=self._rng.choice((20, 100)))
        if self._chance(0.3, "datagrams"):
            client = replace(client, max_datagram_frame_size=65535)
            server = replace(server, max_datagram_frame_size=65535)
        if self._chance(0.2, "NewReno"):
            client = replace(client, congestion=CongestionAlgorithm.NEWRENO)
            server = replace(server, congestion=CongestionAlgorithm.NEWRENO)
        if self._chance(0.2, "no ACK frequency"):
            client = replace(client, ack_frequency=False)
        if self._chance(0.2, "slow ACKs"):
            client = replace(client, max_ack_delay=0.2)
        client, server = self._versions(client, server)
        self.scenario.client_config, self.scenario.server_config = client, server
        if self._chance(0.25, "retry"):
            self.scenario.admission = always_retry
        self.resume = self._chance(0.35, "0-RTT")
        if self._chance(0.3, "no offload"):
            self.scenario.batch_limit = 1

    def _versions(self, client: Config, server: Config) -> tuple[Config, Config]:
        if self._chance(0.15, "version 2"):
            return replace(client, initial_version=QUIC_V2), server
        if self._chance(0.2, "change to version 2"):
            both = (QUIC_V2, QUIC_V1)
            return replace(client, versions=both), replace(server, versions=both)
        return client, server

    def _links(self) -> None:
        rng = self._rng
        profiles = []
        for name in ("up", "down"):
            profile = LinkProfile(delay=rng.choice((0.0005, 0.015, 0.1)), ecn=rng.choice(ECN_PATHS))
            if self._chance(0.4, f"{name}: 10 Mbit/s"):
                profile = replace(profile, bandwidth=10e6, queue=25, marking_queue=rng.choice((None, 8)))
            if self._chance(0.4, f"{name}: loss"):
                profile = replace(profile, loss=rng.choice((0.01, 0.05, 0.15)))
            if self._chance(0.25, f"{name}: corruption"):
                profile = replace(profile, corruption=0.05)
            if self._chance(0.3, f"{name}: reordering"):
                profile = replace(profile, reordering=rng.choice((0.02, 0.3)))
            if self._chance(0.2, f"{name}: jitter"):
                profile = replace(profile, jitter=0.03)
            if self._chance(0.25, f"{name}: duplication"):
                profile = replace(profile, duplication=0.1)
            if self._chance(0.3, f"{name}: outage"):
                start = rng.uniform(0.0, 3.0)
                profile = replace(profile, outages=((start, start + rng.uniform(0.1, 2.5)),))
            if self._chance(0.3, f"{name}: small datagrams"):
                profile = replace(profile, mtu=rng.choice((1252, 1300, 1472)))
            profiles.append(profile)
        self.scenario.up, self.scenario.down = profiles
        if self._chance(0.35, "rebinding"):
            times = sorted(rng.uniform(0.0, LAST_MOVE) for _ in range(rng.randrange(1, 4)))
            hosts = (CLIENT_ADDRESS[0], "192.0.2.77", "192.0.2.200")
            self.scenario.rebindings = [(time, (rng.choice(hosts), 2000 + n)) for n, time in enumerate(times)]

    def _moves(self) -> None:
        rng = self._rng
        kinds: list[tuple[float, str, Callable[[], Callable[[Pair], None]]]] = [
            (0.35, "migration", lambda: partial(_migrate, local=("203.0.113.9", rng.randrange(6000, 6004)))),
            (0.3, "key update", lambda: partial(_update_keys, client=rng.random() < 0.5)),
            (0.3, "side stream", lambda: partial(_side_stream, reset=rng.random() < 0.5)),
            (0.3, "datagram", lambda: _send_datagrams),
            (0.25, "MTU change", lambda: partial(_change_mtu, mtu=rng.choice((1200, 1280, 1452, 1472)))),
            (0.2, "ping", lambda: _ping),
        ]
        for probability, name, make in kinds:
            if self._chance(probability, name):
                for _ in range(rng.randrange(1, 5)):
                    self.moves.append((rng.uniform(FIRST_MOVE, LAST_MOVE), name, make()))
        self.moves.sort(key=lambda move: move[0])


def _migrate(pair: Pair, *, local: Address) -> None:
    connection = pair.client.connection
    try:
        connection.migrate(local, pair.now)
    except MigrationError:
        # Not now, or not with this server. Whether that is so, other tests say.
        return


def _update_keys(pair: Pair, *, client: bool) -> None:
    for end in [pair.client] if client else pair.servers:
        end.connection.update_keys(pair.now)


def _side_stream(pair: Pair, *, reset: bool) -> None:
    connection = pair.client.connection
    if not connection.handshake_confirmed or not connection.can_open_stream(unidirectional=True):
        return
    stream_id = connection.open_stream(unidirectional=True)
    connection.write(stream_id, MORSEL * 20, fin=not reset)
    if reset:
        connection.reset_stream(stream_id, 9)


def _send_datagrams(pair: Pair) -> None:
    for end in (pair.client, *pair.servers):
        if not end.connection.is_closing and end.connection.datagram_limit >= len(MORSEL):
            for _ in range(20):
                end.connection.send_datagram(MORSEL)


def _change_mtu(pair: Pair, *, mtu: int) -> None:
    for link in (pair.network.up, pair.network.down):
        link.profile = replace(link.profile, mtu=mtu)


def _ping(pair: Pair) -> None:
    for end in (pair.client, *pair.servers):
        end.connection.ping()
