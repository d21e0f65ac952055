"""The server's front without I/O: which datagram is for whom, and what to say to strangers.

Routing is by Destination Connection ID (RFC 9000 §5.2). A stranger gets a connection for a valid
Initial, a Version Negotiation packet for an unknown version (§6.1), a stateless reset for a packet of a
forgotten connection (§10.3), and else nothing.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from struct import Struct

from endpoint.admission import AdmissionPolicy, Decision, Incoming, accept_all
from endpoint.batch import ECN_NOT_ECT, TAG_LENGTH, Address, PacketBuffer, RecvBatch, SendBatch
from endpoint.config import Config
from endpoint.crypto.initial import initial_keys
from endpoint.crypto.packet_protection import open_payload, seal, unprotect_header
from endpoint.crypto.retry import retry_integrity_tag
from endpoint.errors import TransportErrorCode
from endpoint.keyring import KeyRing
from endpoint.tls.config import TlsConfig
from endpoint.transport.connection import Connection
from endpoint.transport.reflection import is_reflection
from endpoint.transport.setup import FirstInitial, RandomSource
from endpoint.transport.stateless_reset import StatelessResetter
from endpoint.transport.tokens import AddressTokens, TokenOutcome
from endpoint.wire.frame_writer import append_connection_close
from endpoint.wire.header import (
    LONG_HEADER_FORM,
    HeaderError,
    LongHeader,
    PacketType,
    append_long_header,
    encode_retry,
    encode_version_negotiation,
    finish_long_header,
    parse_long_header,
)
from endpoint.wire.version import VERSION_NEGOTIATION, VERSIONS

# RFC 9000 §14.1 for Initial packets; §6.1 lets a server ask the same of unknown versions.
MIN_INITIAL_DATAGRAM = 1200
# RFC 9000 §7.2.
MIN_INITIAL_DCID = 8
# Handshakes under way at one time: with some 30 KB each, what a flood of Initials can make us hold.
MAX_HALF_OPEN = 4096
# From here on whoever has no token gets a Retry, whatever the policy says: the rest of the room is for
# clients that are where they say they are, so made-up addresses can't lock them out.
RETRY_ABOVE_HALF_OPEN = 1024
# Original Destination Connection IDs of ended connections. A late copy of their first Initial must not
# open a second one; the oldest are forgotten first.
MAX_REMEMBERED = 16384
# Datagrams of 0-RTT packets that wait for their Initial: a first window of a few clients, some 600 KB.
MAX_ZERO_RTT_DATAGRAMS = 10
MAX_ZERO_RTT_SIZE = 1500
MAX_ZERO_RTT_CLIENTS = 32
# A CONNECTION_CLOSE frame without a reason.
MAX_CLOSE = 20
# Answers that wait to be sent; more are dropped, as UDP would.
MAX_PENDING_ANSWERS = 256


class Listener:
    """The connections of one server. See `Connection` for the order of calls."""

    def __init__(
        self,
        config: Config,
        tls: TlsConfig,
        *,
        random: RandomSource,
        wall_time: Callable[[], float],
        keylog: Callable[[str], None] | None = None,
        reset_key: bytes | None = None,
        token_keys: KeyRing | None = None,
        admission: AdmissionPolicy = accept_all,
    ) -> None:
        """`reset_key` makes stateless reset tokens; share it with whoever answers after a restart.

        `token_keys` seal address tokens; servers that share them accept each other's (None: our own).
        """
        if config.connection_id_length == 0:
            raise ValueError("a server needs connection IDs of 1 byte or more to tell its clients apart")
        self._config = config
        self._tls = tls
        self._random = random
        self._wall_time = wall_time
        self._keylog = keylog
        self._resetter = StatelessResetter(random(32) if reset_key is None else reset_key, random)
        ring = token_keys or KeyRing.generate(random, wall_time())
        self._tokens = AddressTokens(ring, wall_time)
        self._admission = admission
        self._routes: dict[bytes, Connection] = {}
        self._ended: OrderedDict[bytes, None] = OrderedDict()
        self._half_open: set[Connection] = set()
        self._zero_rtt: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._accepted: deque[Connection] = deque()
        self._answers: deque[tuple[bytes, Address, Address | None]] = deque(maxlen=MAX_PENDING_ANSWERS)
        self._single = PacketBuffer()
        self._cid_columns: dict[tuple[int, int], Struct] = {}
        self._open = True
        self.connections: set[Connection] = set()

    def receive(self, batch: RecvBatch, now: float) -> list[Connection]:
        """Take a batch of datagrams; returns the connections they were for, new ones included."""
        data = batch.buffer.view
        length = self._config.connection_id_length
        if not data[0] & LONG_HEADER_FORM and self._is_uniform(batch):
            connection = self._routes.get(bytes(data[1 : 1 + length]))
            if connection is not None:
                connection.receive(batch, now)
                self._update_routes(connection)
                return [connection]
        touched: dict[Connection, None] = {}
        for start, end in batch.bounds():
            single = self._one(batch, start, end)
            found = self._receive_datagram(single, now)
            if found is not None:
                touched[found] = None
        return list(touched)

    def accept(self) -> Connection | None:
        """The next new connection that `receive` made, None if there is none."""
        return self._accepted.popleft() if self._accepted else None

    def transmit(self, buffer: PacketBuffer, now: float) -> SendBatch | None:  # noqa: ARG002 - as Connection
        """The next stateless answer, None if there is none."""
        if not self._answers:
            return None
        datagram, peer, local = self._answers.popleft()
        buffer.view[: len(datagram)] = datagram
        return SendBatch(len(datagram), len(datagram), peer, local, ECN_NOT_ECT)

    def update(self, connection: Connection) -> None:
        """Call after `on_timeout` and `transmit` of a connection: its IDs may have changed."""
        self._update_routes(connection)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is closed. Copies of its first Initial stay unanswered."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self._half_open.discard(connection)
        self._update_routes(connection)
        for cid in connection.local_cids:
            self._routes.pop(cid, None)
        initial = connection.initial_destination_cid
        if self._routes.get(initial) is connection:
            del self._routes[initial]
        self._ended[initial] = None
        if len(self._ended) > MAX_REMEMBERED:
            self._ended.popitem(last=False)

    def shutdown(self) -> None:
        """Make no new connections; those there are go on."""
        self._open = False

    def _is_uniform(self, batch: RecvBatch) -> bool:
        """Whether all datagrams have one Destination Connection ID: GRO joins by address only."""
        size = batch.segment_size
        n = batch.length // size
        length = self._config.connection_id_length
        # Behind the end of a datagram that is too short to have an ID lie the leftovers of others.
        if size <= length or 0 < batch.length - n * size <= length:
            return False
        if n <= 1 and batch.length <= size:
            return True
        column = self._cid_columns.get((size, n))
        if column is None:
            if len(self._cid_columns) > 64:
                self._cid_columns.clear()
            column = Struct(f"x{length}s{size - 1 - length}x" * n)
            self._cid_columns[size, n] = column
        cids = column.unpack_from(batch.buffer.data)
        last = n * size
        tail = batch.length > last and bytes(batch.buffer.view[last + 1 : last + 1 + length]) != cids[0]
        return cids.count(cids[0]) == n and not tail

    def _one(self, batch: RecvBatch, start: int, end: int) -> RecvBatch:
        """One datagram of a batch as a batch; copied if it is not the first."""
        if start == 0:
            return RecvBatch(batch.buffer, end, end, batch.peer, batch.local, batch.ecn)
        self._single.view[: end - start] = batch.buffer.view[start:end]
        size = end - start
        return RecvBatch(self._single, size, size, batch.peer, batch.local, batch.ecn)

    def _receive_datagram(self, batch: RecvBatch, now: float) -> Connection | None:
        data = batch.buffer.view
        if not data[0] & LONG_HEADER_FORM:
            length = self._config.connection_id_length
            if batch.length <= length:
                return None
            cid = bytes(data[1 : 1 + length])
            connection = self._routes.get(cid)
            if connection is None:
                self._answer_reset(cid, batch, now)
                return None
        else:
            try:
                header = parse_long_header(data, 0, batch.length)
            except HeaderError:
                return None
            connection = self._routes.get(header.dcid)
            if connection is None:
                return self._on_stranger(header, batch, now)
        connection.receive(batch, now)
        self._update_routes(connection)
        return connection

    def _on_stranger(self, header: LongHeader, batch: RecvBatch, now: float) -> Connection | None:
        """RFC 9000 §5.2.2: a packet for nobody we know."""
        if is_reflection(batch.peer):
            return None
        if header.version == VERSION_NEGOTIATION or batch.length < MIN_INITIAL_DATAGRAM:
            # §6.1: Version Negotiation is never answered, nor what is too small to be a first flight.
            return None
        if header.version not in self._config.versions:
            # RFC 9000 §6.3: a version that never exists keeps clients honest about unknown ones.
            reserved = int.from_bytes(self._random(4), "big") & 0xF0F0F0F0 | 0x0A0A0A0A
            answer = encode_version_negotiation(
                header.scid, header.dcid, (reserved, *self._config.versions), self._random(1)[0] & 0x7F
            )
            self._answers.append((answer, batch.peer, batch.local))
            return None
        if len(header.dcid) < MIN_INITIAL_DCID:
            return None
        if header.type is PacketType.ZERO_RTT and header.dcid not in self._ended:
            self._keep_zero_rtt(header.dcid, batch)
        if header.type is not PacketType.INITIAL:
            return None
        if not self._open or header.dcid in self._ended or len(self._half_open) >= MAX_HALF_OPEN:
            return None
        first = self._admit(header, batch)
        if first is None or not _opens(header, batch):
            # Anybody can make up a header. A damaged packet must not become a second connection either.
            return None
        connection = Connection.server(
            self._config,
            self._tls,
            peer=batch.peer,
            local=batch.local,
            first=first,
            random=self._random,
            wall_time=self._wall_time,
            reset_token=self._resetter.token,
            now=now,
            keylog=self._keylog,
            new_token=self._tokens.for_later,
        )
        connection.receive(batch, now)
        if not connection.has_opened_packet:
            return None
        for datagram in self._zero_rtt.pop(header.dcid, ()):
            connection.receive(RecvBatch.of([datagram], batch.peer, batch.local, buffer=self._single), now)
        self.connections.add(connection)
        self._half_open.add(connection)
        self._routes[first.destination_cid] = connection
        self._accepted.append(connection)
        self._update_routes(connection)
        return connection

    def _keep_zero_rtt(self, dcid: bytes, batch: RecvBatch) -> None:
        """RFC 9000 §5.2.2: 0-RTT packets may overtake their Initial; a few can wait for it."""
        kept = self._zero_rtt.setdefault(dcid, [])
        if len(kept) < MAX_ZERO_RTT_DATAGRAMS and batch.length <= MAX_ZERO_RTT_SIZE:
            kept.append(bytes(batch.buffer.view[: batch.length]))
        if len(self._zero_rtt) > MAX_ZERO_RTT_CLIENTS:
            self._zero_rtt.popitem(last=False)

    def _admit(self, header: LongHeader, batch: RecvBatch) -> FirstInitial | None:
        """Judge token and policy; None if there is to be no connection, with an answer queued or not."""
        peer = batch.peer
        checked = self._tokens.check(header.token, peer, header.dcid, header.version)
        if checked.outcome is TokenOutcome.INVALID:
            self._answer_close(header, batch, TransportErrorCode.INVALID_TOKEN)
            return None
        validated = checked.outcome is TokenOutcome.VALIDATED
        decision = self._admission(Incoming(peer, header.version, validated, len(self._half_open)))
        crowded = decision is Decision.ACCEPT and len(self._half_open) >= RETRY_ABOVE_HALF_OPEN
        if (decision is Decision.RETRY or crowded) and not validated:
            self._answer_retry(header, batch)
            return None
        if decision is Decision.REFUSE:
            self._answer_close(header, batch, TransportErrorCode.CONNECTION_REFUSED)
        if decision in (Decision.REFUSE, Decision.IGNORE):
            return None
        original = checked.original_destination_cid or header.dcid
        return FirstInitial(header.version, header.scid, header.dcid, original, validated)

    def _answer_retry(self, header: LongHeader, batch: RecvBatch) -> None:
        """RFC 9000 §8.1.2. Nothing is remembered: all there is to know is in the token."""
        version = VERSIONS[header.version]
        # What comes back to it is judged like any first Initial, by its length too.
        cid = self._random(max(self._config.connection_id_length, MIN_INITIAL_DCID))
        token = self._tokens.for_retry(batch.peer, header.dcid, cid)
        packet = encode_retry(version, header.scid, cid, token, self._random(1)[0])
        packet += retry_integrity_tag(version, header.dcid, packet)
        self._answers.append((packet, batch.peer, batch.local))

    def _answer_close(self, header: LongHeader, batch: RecvBatch, code: TransportErrorCode) -> None:
        """A CONNECTION_CLOSE without a connection (RFC 9000 §5.2.2, §8.1.3).

        Only an Initial that opens is answered: anybody can make up a header.
        """
        if not _opens(header, batch):
            return
        version = VERSIONS[header.version]
        write_keys, _ = initial_keys(version, header.dcid, is_client=False)
        packet = bytearray()
        length_at = append_long_header(
            packet, version, PacketType.INITIAL, header.scid, header.dcid, b"", 0, 1
        )
        payload = len(packet)
        append_connection_close(packet, code, 0, "", MAX_CLOSE)
        end = len(packet)
        packet += bytes(TAG_LENGTH)
        finish_long_header(packet, length_at, len(packet))
        seal(write_keys, memoryview(packet), 0, payload - 1, 1, end, 0)
        self._answers.append((bytes(packet), batch.peer, batch.local))

    def _update_routes(self, connection: Connection) -> None:
        for added, cid in connection.take_routes():
            if added:
                self._routes[cid] = connection
            else:
                self._routes.pop(cid, None)
        # A handshake that failed counts until it is forgotten: closing takes memory, too.
        if connection in self._half_open and connection.handshake_complete:
            self._half_open.discard(connection)

    def _answer_reset(self, cid: bytes, batch: RecvBatch, now: float) -> None:
        if is_reflection(batch.peer):
            return
        answer = self._resetter.reset_for(cid, batch.length, now)
        if answer is not None:
            self._answers.append((answer, batch.peer, batch.local))


def _opens(header: LongHeader, batch: RecvBatch) -> bool:
    """Whether the first packet of the batch, an Initial, is authentic; it stays as it is."""
    _, keys = initial_keys(VERSIONS[header.version], header.dcid, is_client=False)
    copy = memoryview(bytearray(batch.buffer.view[: header.packet_end]))
    clear = unprotect_header(keys, copy, 0, header.pn_offset, header.packet_end, 0)
    if clear is None:
        return False
    _, pn, pn_length = clear
    return open_payload(keys, copy, 0, header.pn_offset + pn_length, header.packet_end, pn)
