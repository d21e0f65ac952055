"""Packets made by hand, and a peer that does a real handshake and then says whatever a test wants.

`build_packet` protects any payload with any keys. `RawPeer` is the other side of a connection: TLS of
`endpoint.tls`, keys and packet numbers, but no rules; nothing stops it from breaking the protocol.
`RawSession` puts it opposite an endpoint under test, on one clock and without a network.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from endpoint.batch import TAG_LENGTH, Address, PacketBuffer, RecvBatch
from endpoint.config import Config
from endpoint.crypto.aead import CIPHER_SUITES
from endpoint.crypto.initial import initial_keys
from endpoint.crypto.keys import PacketKeys
from endpoint.crypto.packet_protection import open_payload, seal, unprotect_header
from endpoint.events import ConnectionClosed, Event
from endpoint.level import Level
from endpoint.listener import Listener
from endpoint.testing.certificates import Chain
from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS
from endpoint.testing.pair import seeded_bytes
from endpoint.tls.client import TlsClient
from endpoint.tls.config import TlsConfig
from endpoint.tls.server import TlsServer
from endpoint.transport.connection import Connection
from endpoint.wire.frame_parser import iter_frames
from endpoint.wire.frame_writer import append_frame
from endpoint.wire.frames import Ack, ConnectionClose, Crypto, Frame, Padding, Ping
from endpoint.wire.header import (
    LONG_HEADER_FORM,
    PacketType,
    append_long_header,
    append_short_header,
    finish_long_header,
    parse_long_header,
)
from endpoint.wire.transport_params import TransportParameters, encode_transport_parameters
from endpoint.wire.version import QUIC_V1, VERSIONS

ALPN = ("hq-interop",)
MIN_INITIAL_DATAGRAM = 1200
# Handshake bytes per CRYPTO frame of a raw peer, so that each fits a datagram of 1200 bytes.
_CRYPTO_CHUNK = 1000
# An exchange that takes more steps than this goes round in circles.
_MAX_STEPS = 1000

_PACKET_TYPES = {
    Level.INITIAL: PacketType.INITIAL,
    Level.ZERO_RTT: PacketType.ZERO_RTT,
    Level.HANDSHAKE: PacketType.HANDSHAKE,
}
_LEVELS = {packet_type: level for level, packet_type in _PACKET_TYPES.items()}

Content = Frame | bytes
"""A frame, or raw bytes that take the place of one."""


def payload_of(contents: Iterable[Content]) -> bytes:
    """The payload of a packet: frames written, raw bytes as they are."""
    payload = bytearray()
    for content in contents:
        if isinstance(content, bytes):
            payload += content
        else:
            append_frame(payload, content)
    return bytes(payload)


def build_packet(
    level: Level,
    keys: PacketKeys,
    contents: Sequence[Content],
    *,
    dcid: bytes,
    scid: bytes = b"",
    pn: int = 0,
    pn_length: int = 2,
    token: bytes = b"",
    key_phase: int = 0,
    flip: int = 0,
    fill_to: int = 0,
    version: int = QUIC_V1,
) -> bytes:
    """One protected packet of any level.

    `flip` is XORed into the first byte before protection, to set reserved bits or clear the fixed bit.
    The payload is padded so that the packet has `fill_to` bytes, and at any rate enough to sample.
    """
    header = bytearray()
    length_offset = None
    if level is Level.ONE_RTT:
        append_short_header(header, dcid, pn, pn_length, key_phase=key_phase, spin=0)
    else:
        params = VERSIONS[version]
        length_offset = append_long_header(
            header, params, _PACKET_TYPES[level], dcid, scid, token, pn, pn_length
        )
    header[0] ^= flip
    payload = payload_of(contents)
    padding = max(4 - pn_length - len(payload), fill_to - len(header) - len(payload) - TAG_LENGTH, 0)
    payload += bytes(padding if payload else 0)
    end = len(header) + len(payload)
    if length_offset is not None:
        finish_long_header(header, length_offset, end + TAG_LENGTH)
    data = header + payload + bytes(TAG_LENGTH)
    seal(keys, memoryview(data), 0, len(header) - pn_length, pn_length, end, pn)
    return bytes(data)


@dataclass(frozen=True, slots=True)
class OpenedPacket:
    """A packet that the raw peer has opened. `datagram` counts the datagrams it was given, from 0."""

    level: Level
    pn: int
    frames: list[Frame]
    datagram: int
    size: int


@dataclass(slots=True)
class _CryptoIn:
    """Puts the CRYPTO frames of one level in order."""

    offset: int = 0
    waiting: dict[int, bytes] = field(default_factory=dict)

    def add(self, frame: Crypto) -> bytes:
        self.waiting[frame.offset] = max(self.waiting.get(frame.offset, b""), frame.data, key=len)
        ready = b""
        for offset in sorted(self.waiting):
            data = self.waiting[offset]
            if offset > self.offset:
                break
            ready += data[self.offset - offset :]
            self.offset = max(self.offset, offset + len(data))
            del self.waiting[offset]
        return ready


class RawPeer:
    """One side of a connection without any rules.

    It opens what it has keys for and remembers it in `packets`, feeds CRYPTO data to TLS while `tls` is
    set, and numbers what it sends. It never forgets keys, and never sends on its own.
    """

    def __init__(
        self,
        tls: TlsClient | TlsServer,
        *,
        is_client: bool,
        cid: bytes,
        peer_cid: bytes,
        original_dcid: bytes,
    ) -> None:
        """`cid` is its own connection ID, `peer_cid` the one that it addresses its peer by."""
        self.tls = tls
        self.is_client = is_client
        self.cid = cid
        self.peer_cid = peer_cid
        self.original_dcid = original_dcid
        write, read = initial_keys(VERSIONS[QUIC_V1], original_dcid, is_client=is_client)
        self.write_keys: dict[Level, PacketKeys] = {Level.INITIAL: write}
        self.read_keys: dict[Level, PacketKeys] = {Level.INITIAL: read}
        self.next_pn = dict.fromkeys(Level, 0)
        self.crypto_offset = dict.fromkeys(Level, 0)
        self.packets: list[OpenedPacket] = []
        self.unopened: list[bytes] = []
        self.datagrams = 0
        self._crypto_in = {level: _CryptoIn() for level in Level}
        if isinstance(tls, TlsClient):
            tls.start()

    # What came.

    def frames(self, level: Level | None = None) -> list[Frame]:
        """All frames that came so far, of one level or of all, in order."""
        return [frame for packet in self.packets if level in (None, packet.level) for frame in packet.frames]

    @property
    def closes(self) -> list[tuple[Level, ConnectionClose]]:
        """Every CONNECTION_CLOSE that came, with the level it came at."""
        return [
            (packet.level, frame)
            for packet in self.packets
            for frame in packet.frames
            if isinstance(frame, ConnectionClose)
        ]

    def receive(self, datagram: bytes) -> None:
        """Open the packets of a datagram; what can't be opened goes to `unopened`."""
        number = self.datagrams
        self.datagrams += 1
        data = memoryview(bytearray(datagram))
        start = 0
        while start < len(data):
            start = self._receive_packet(data, start, number)
        waiting, self.unopened = self.unopened, []
        for packet in waiting:
            self._receive_packet(memoryview(bytearray(packet)), 0, number)

    def _receive_packet(self, data: memoryview, start: int, number: int) -> int:
        end = len(data)
        if data[start] & LONG_HEADER_FORM:
            header = parse_long_header(data, start, end)
            if header.type not in _LEVELS:
                self.unopened.append(bytes(data[start:end]))
                return end
            level, pn_offset, end = _LEVELS[header.type], header.pn_offset, header.packet_end
            self.peer_cid = header.scid
        else:
            level, pn_offset = Level.ONE_RTT, start + 1 + len(self.cid)
        keys = self.read_keys.get(level)
        original = bytes(data[start:end])
        if keys is None:
            self.unopened.append(original)
            return end
        # The peer sends in order here, so its numbers need no window that moves.
        expected = 1 + max((packet.pn for packet in self.packets if packet.level is level), default=-1)
        unprotected = unprotect_header(keys, data, start, pn_offset, end, expected)
        if unprotected is None or not open_payload(
            keys, data, start, pn_offset + unprotected[2], end, unprotected[1]
        ):
            self.unopened.append(original)
            return end
        _, pn, pn_length = unprotected
        frames = list(iter_frames(data, pn_offset + pn_length, end - TAG_LENGTH, level))
        self.packets.append(OpenedPacket(level, pn, frames, number, end - start))
        for frame in frames:
            if isinstance(frame, Crypto):
                ready = self._crypto_in[level].add(frame)
                if ready:
                    self.tls.receive(level, ready)
                    self._take_secrets()
        return end

    def _take_secrets(self) -> None:
        for secret in self.tls.take_secrets():
            keys = PacketKeys(CIPHER_SUITES[secret.cipher_suite], secret.secret, VERSIONS[QUIC_V1])
            (self.write_keys if secret.is_write else self.read_keys)[secret.level] = keys

    # What goes out.

    def packet(self, level: Level, *contents: Content, fill_to: int = 0, flip: int = 0) -> bytes:
        """The next packet of `level` with these frames."""
        pn = self.next_pn[level]
        self.next_pn[level] += 1
        return build_packet(
            level,
            self.write_keys[level],
            contents,
            dcid=self.peer_cid,
            scid=self.cid,
            pn=pn,
            fill_to=fill_to,
            flip=flip,
        )

    def datagram(self, level: Level, *contents: Content) -> bytes:
        """A datagram of one packet; a client's Initial is padded as RFC 9000 §14.1 asks."""
        full = level is Level.INITIAL and self.is_client
        return self.packet(level, *contents, fill_to=MIN_INITIAL_DATAGRAM if full else 0)

    def ack(self, level: Level) -> Ack:
        """An ACK of every packet of `level` that came."""
        numbers = sorted({packet.pn for packet in self.packets if packet.level is level}, reverse=True)
        ranges: list[tuple[int, int]] = []
        for pn in numbers:
            if ranges and ranges[-1][0] == pn + 1:
                ranges[-1] = (pn, ranges[-1][1])
            else:
                ranges.append((pn, pn))
        return Ack(numbers[0], 0, ranges, None)

    def crypto(self, level: Level, data: bytes) -> Crypto:
        """The next CRYPTO frame of `level`."""
        frame = Crypto(self.crypto_offset[level], data)
        self.crypto_offset[level] += len(data)
        return frame

    def flight(self) -> list[bytes]:
        """What TLS has to say, as datagrams that acknowledge what came."""
        datagrams = []
        for level, message in self.tls.take_output():
            for start in range(0, len(message), _CRYPTO_CHUNK):
                contents: list[Content] = [self.crypto(level, message[start : start + _CRYPTO_CHUNK])]
                if any(packet.level is level for packet in self.packets):
                    contents.insert(0, self.ack(level))
                datagrams.append(self.datagram(level, *contents))
        return datagrams


class RawSession:
    """A raw peer and the endpoint under test, a client's connection or a listener.

    `sent` is every datagram of the endpoint, `events` what its connection told. Whatever the endpoint
    sends is given to the raw peer at once, unless `deaf`. `held` are datagrams of the raw peer that a test
    holds back until `handshake`.
    """

    def __init__(
        self, raw: RawPeer, *, client: Connection | None = None, listener: Listener | None = None
    ) -> None:
        self.raw = raw
        self.now = 0.0
        self.listener = listener
        self.sent: list[bytes] = []
        self.events: list[Event] = []
        self.deaf = False
        self.held: list[bytes] = []
        self._connection = client
        self._buffer = PacketBuffer()

    @property
    def connection(self) -> Connection:
        """The endpoint's connection; a listener must have accepted one."""
        assert self._connection is not None, "no connection was accepted"
        return self._connection

    @property
    def accepted(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def closed(self) -> ConnectionClosed | None:
        """The event of the end, None while there is none. There is never a second one, or any after it."""
        ends = [event for event in self.events if isinstance(event, ConnectionClosed)]
        if not ends:
            return None
        assert len(ends) == 1, ends
        assert self.events[-1] is ends[0], self.events
        return ends[0]

    def deliver(
        self, *datagrams: bytes, batch: bool = False, client: Address = CLIENT_ADDRESS
    ) -> list[bytes]:
        """Hand datagrams to the endpoint, one by one or as one batch; returns what it sends in answer."""
        groups = [list(datagrams)] if batch else [[datagram] for datagram in datagrams]
        for group in groups:
            source, target = client, SERVER_ADDRESS
            if not self.raw.is_client:
                source, target = target, source
            received = RecvBatch.of(group, source, target)
            if self.listener is None:
                self.connection.receive(received, self.now)
            else:
                self.listener.receive(received, self.now)
                while (accepted := self.listener.accept()) is not None:
                    self._connection = accepted
        if self._connection is not None:
            self._connection.on_socket_drained(self.now)
        return self.collect()

    def send(self, level: Level, *contents: Content) -> list[bytes]:
        """Deliver one packet of the raw peer with these frames."""
        return self.deliver(self.raw.datagram(level, *contents))

    def collect(self) -> list[bytes]:
        """Take events and everything that the endpoint sends now."""
        fresh: list[bytes] = []
        for sender in (self.listener, self._connection):
            while sender is not None and (batch := sender.transmit(self._buffer, self.now)) is not None:
                fresh += [bytes(self._buffer.view[start:end]) for start, end in batch.bounds()]
                assert len(fresh) < _MAX_STEPS
        while self._connection is not None and (event := self._connection.next_event()) is not None:
            self.events.append(event)
        self.sent += fresh
        if not self.deaf:
            for datagram in fresh:
                self.raw.receive(datagram)
        if self.listener is not None and self._connection is not None:
            self.listener.update(self._connection)
        return fresh

    def advance(self, seconds: float) -> list[bytes]:
        """Let time pass, with every timer at its moment; returns what was sent meanwhile."""
        end = self.now + seconds
        sent: list[bytes] = []
        for _ in range(_MAX_STEPS):
            due = self.connection.next_timeout()
            if due is None or due > end:
                self.now = end
                return sent
            self.now = max(self.now, due)
            self.connection.on_timeout(self.now)
            sent += self.collect()
        raise AssertionError("the endpoint finds no rest")

    def handshake(self) -> None:
        """Exchange flights until the raw peer has nothing more to say, then acknowledge everything."""
        self.collect()
        while flight := self.held + self.raw.flight():
            self.held = []
            self.deliver(*flight)
        self.settle()

    def settle(self) -> None:
        """Acknowledge everything that came in 1-RTT packets, if anything did."""
        if any(packet.level is Level.ONE_RTT for packet in self.raw.packets):
            self.send(Level.ONE_RTT, self.raw.ack(Level.ONE_RTT), Ping(), Padding(20))


Encoder = Callable[[TransportParameters], bytes]
"""Encodes the parameters that a raw peer would send if it were honest, changed as a test wants."""


def generous_parameters(cid: bytes) -> TransportParameters:
    """Parameters of a peer that sets no limit that could be in a test's way."""
    return TransportParameters(
        max_idle_timeout=30_000,
        initial_max_data=1 << 24,
        initial_max_stream_data_bidi_local=1 << 20,
        initial_max_stream_data_bidi_remote=1 << 20,
        initial_max_stream_data_uni=1 << 20,
        initial_max_streams_bidi=100,
        initial_max_streams_uni=100,
        active_connection_id_limit=4,
        initial_source_connection_id=cid,
    )


def raw_client_session(
    chain: Chain,
    wall_time: float,
    *,
    config: Config | None = None,
    seed: int = 1,
    encode: Encoder = encode_transport_parameters,
    listener: Listener | None = None,
) -> RawSession:
    """A raw client opposite a listener; nothing is sent yet."""
    random = seeded_bytes(seed)
    original_dcid, cid = random(8), random(8)
    tls = TlsClient(
        TlsConfig(alpn_protocols=ALPN, trusted_roots=(chain.root,)),
        transport_parameters=encode(generous_parameters(cid)),
        random=random,
        wall_time=lambda: wall_time,
        server_name="server4",
    )
    raw = RawPeer(tls, is_client=True, cid=cid, peer_cid=original_dcid, original_dcid=original_dcid)
    return RawSession(raw, listener=listener or make_listener(chain, wall_time, config=config, seed=seed + 1))


def make_listener(chain: Chain, wall_time: float, *, config: Config | None = None, seed: int = 2) -> Listener:
    """A server with the certificates of `chain`."""
    return Listener(
        config or Config(),
        TlsConfig(alpn_protocols=ALPN, certificate_chain=chain.certificates, private_key=chain.private_key),
        random=seeded_bytes(seed),
        wall_time=lambda: wall_time,
    )


def raw_server_session(
    chain: Chain,
    wall_time: float,
    *,
    config: Config | None = None,
    seed: int = 1,
    encode: Encoder = encode_transport_parameters,
) -> RawSession:
    """A raw server opposite a client whose first flight it has received."""
    client = Connection.client(
        config or Config(),
        TlsConfig(alpn_protocols=ALPN, trusted_roots=(chain.root,)),
        peer=SERVER_ADDRESS,
        server_name="server4",
        random=seeded_bytes(seed),
        wall_time=lambda: wall_time,
        now=0.0,
    )
    random = seeded_bytes(seed + 1)
    original_dcid, cid = client.original_destination_cid, random(8)
    params = generous_parameters(cid)
    params.original_destination_connection_id = original_dcid
    params.stateless_reset_token = random(16)
    tls = TlsServer(
        TlsConfig(alpn_protocols=ALPN, certificate_chain=chain.certificates, private_key=chain.private_key),
        transport_parameters=encode(params),
        random=random,
        wall_time=lambda: wall_time,
    )
    raw = RawPeer(
        tls,
        is_client=False,
        cid=cid,
        peer_cid=client.local_cids[0],
        original_dcid=original_dcid,
    )
    return RawSession(raw, client=client)
