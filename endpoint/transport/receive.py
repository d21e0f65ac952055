"""The way in: from a batch of datagrams to opened packets (RFC 9000 §5.2, §12.2; RFC 9001 §5).

Short-header packets of one size are opened as a run and their STREAM frames read by column; everything
else, and every packet that does not fit a run, takes the plain way, one at a time.
"""

from collections.abc import Sequence

from endpoint.batch import TAG_LENGTH, RecvBatch
from endpoint.crypto.initial import initial_keys
from endpoint.crypto.keys import PacketKeys
from endpoint.crypto.packet_protection import OpenedRun, open_payload, open_run, unprotect_header
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.events import ConnectionClosed
from endpoint.level import Level
from endpoint.transport import early_data
from endpoint.transport.close import ConnectionState
from endpoint.transport.dispatch import FrameDispatcher
from endpoint.transport.early_packets import EarlyPackets
from endpoint.transport.observe_packets import (
    trace_long,
    trace_short,
    trace_slots,
    trace_stateless_reset,
    trace_unnumbered,
)
from endpoint.transport.parts import Parts
from endpoint.transport.retry import accept_retry
from endpoint.transport.spaces import PacketSpace
from endpoint.transport.stateless_reset import same_token, tail_token
from endpoint.transport.versions import accept_version_negotiation
from endpoint.wire.header import (
    FIXED_BIT,
    KEY_PHASE_BIT,
    LONG_HEADER_FORM,
    LONG_RESERVED_BITS,
    SHORT_RESERVED_BITS,
    HeaderError,
    LongHeader,
    PacketType,
    parse_long_header,
)
from endpoint.wire.packet_number import consecutive
from endpoint.wire.stream_run import read_stream_runs
from endpoint.wire.version import VERSIONS

# Below this a run costs more than its packets one by one.
MIN_RUN = 3
# RFC 9000 §14.1.
MIN_INITIAL_DATAGRAM = 1200

_LEVELS = {
    PacketType.INITIAL: Level.INITIAL,
    PacketType.HANDSHAKE: Level.HANDSHAKE,
    PacketType.ZERO_RTT: Level.ZERO_RTT,
}


# See `recv_stream`: names of our own are found faster.
_ONE_RTT = Level.ONE_RTT
_HANDSHAKE, _DRAINING = ConnectionState.HANDSHAKE, ConnectionState.DRAINING
# The peer has ended it: what else the batch holds has no effect.
_ENDED = (_DRAINING, ConnectionState.CLOSED)


class Receiver:
    """Opens what comes in and passes the frames on.

    `early` holds packets whose keys are not there yet. `processed` tells whether the last call opened
    any packet, which restarts the idle timer (RFC 9000 §10.1), `opened_any` whether any call did.
    """

    __slots__ = (
        "_dispatch",
        "_drop_reason",
        "_early",
        "_failed_opens",
        "_parts",
        "_replaying",
        "opened_any",
        "processed",
    )

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._dispatch = FrameDispatcher(parts)
        self._early = EarlyPackets()
        self._failed_opens = 0
        # For the tracer: why the last packet did not open, and whether packets are looked at again.
        self._drop_reason = ""
        self._replaying = False
        self.processed = False
        self.opened_any = False

    def receive(self, batch: RecvBatch, now: float) -> None:
        """Take a batch. Raises TransportError for what the peer did wrong; keeps nothing of the buffer."""
        parts = self._parts
        self.processed = False
        view = batch.buffer.view
        length, size, ecn = batch.length, batch.segment_size, batch.ecn
        paths = parts.paths
        path = active = paths.active
        if batch.peer != path.peer or batch.local != path.local:
            other = paths.on_batch(batch.peer, batch.local)
            if other is None:
                self._trace_dropped(now, length, "connection_unknown")
                return
            path = other
        paths.arrival = path
        path.on_received(length)
        start = 0
        if path is active and length >= MIN_RUN * size and not view[0] & LONG_HEADER_FORM:
            start = self._receive_run(batch, length // size, now)
            if start:
                paths.on_run(parts.spaces[_ONE_RTT].acks.largest_received, now)
        while start < length and parts.state not in _ENDED:
            end = min(start + size, length)
            if view[start] & LONG_HEADER_FORM:
                self._receive_datagram(view, start, end, ecn, now)
            else:
                self._receive_short(view, start, end, ecn, now)
            start = end

    def replay_early(self, now: float) -> None:
        """Try the packets again that came before their keys."""
        self._replaying = True
        for packet, ecn in self._early.take():
            view = memoryview(bytearray(packet))
            self._receive_packet(view, 0, len(packet), len(packet), ecn, now)
        self._replaying = False

    def _receive_run(self, batch: RecvBatch, n: int, now: float) -> int:
        """Process the first `n` datagrams as a run; returns where the rest starts, 0 if it was none."""
        parts = self._parts
        space = parts.spaces[_ONE_RTT]
        keys = space.read_keys
        if keys is None or parts.state is _HANDSHAKE:
            return 0
        acks = space.acks
        pn_offset = 1 + parts.local_cids.length
        n = min(n, batch.buffer.capacity(batch.segment_size))
        expected_pn, bit = acks.largest_received + 1, parts.key_phase.bit
        opened = open_run(
            keys,
            batch.buffer,
            batch.segment_size,
            n,
            pn_offset,
            expected_pn,
            bit,
            greased=parts.config.grease,
        )
        if opened is None:
            return 0
        size = batch.segment_size
        numbers = opened.packet_numbers
        first_pn = next((pn for index, pn in enumerate(numbers) if index not in opened.failed), None)
        if first_pn is None:
            self._on_failed(opened, batch, now)
            return n * size
        parts.key_phase.on_opened(bit, first_pn, now)
        self.processed = self.opened_any = True
        if not opened.failed and isinstance(numbers, range) and numbers[0] > acks.largest_received:
            silent = self._process_slots(space, opened, batch, (), now)
            acks.on_received(numbers[0], numbers[-1], len(silent) < n, now, batch.ecn)
            return n * size
        # Losses, reordering, duplicates or failures: the same, but piece by piece.
        skip = self._unusable(space, opened, size, now)
        silent = self._process_slots(space, opened, batch, skip, now)
        for first, last in consecutive(numbers, skip):
            eliciting = any(index not in silent for index in range(first, last))
            acks.on_received(numbers[first], numbers[last - 1], eliciting, now, batch.ecn)
        self._on_failed(opened, batch, now)
        return n * size

    def _on_failed(self, opened: OpenedRun, batch: RecvBatch, now: float) -> None:
        """Judge the packets of a run that did not open, after those that did."""
        if opened.failed:
            self._drop_reason = "decryption_failure"
            size = batch.segment_size
            for index in opened.failed:
                self._on_unopened(batch.buffer.view, index * size, (index + 1) * size, now)
            self._check_integrity_limit(len(opened.failed))

    def _unusable(self, space: PacketSpace, opened: OpenedRun, size: int, now: float) -> list[int]:
        """Indexes of packets that failed to open or came before, ascending."""
        failed, seen = set(opened.failed), set()
        skip: list[int] = []
        for index, pn in enumerate(opened.packet_numbers):
            if index in failed:
                skip.append(index)
            elif pn in seen or space.acks.is_duplicate(pn):
                self._trace_dropped(now, size, "duplicate")
                skip.append(index)
            else:
                # Only what is authentic: a forged packet must not make the real one a duplicate.
                seen.add(pn)
        return skip

    def _process_slots(
        self, space: PacketSpace, opened: OpenedRun, batch: RecvBatch, skip: Sequence[int], now: float
    ) -> set[int]:
        """Process the payloads of all slots but `skip`; the indexes that are not ack-eliciting."""
        layout = opened.layout
        runs, others = read_stream_runs(layout, opened.n, skip)
        if self._parts.tracer is not None:
            trace_slots(self._parts.tracer, self._parts, opened, runs, others, now)
        on_stream_data = self._parts.streams.on_stream_data
        for run in runs:
            on_stream_data(run.stream_id, run.offset, b"".join(run.views), False)
        silent: set[int] = set()
        size, header, view = layout.size, layout.pn_offset + opened.pn_length, batch.buffer.view
        for index in others:
            start = index * size
            dcid = bytes(view[start + 1 : start + layout.pn_offset])
            payload, end = start + header, start + size - TAG_LENGTH
            if not self._dispatch.process(space, view, payload, end, dcid, now):
                silent.add(index)
        return silent

    def _receive_datagram(self, view: memoryview, start: int, end: int, ecn: int, now: float) -> None:
        """Process the coalesced packets of one datagram (RFC 9000 §12.2)."""
        first = start
        dcid: bytes | None = None
        while start < end:
            if not view[start] & LONG_HEADER_FORM:
                # Before the same rule for long headers, lest padding outside of packets waits for keys.
                if dcid is None or bytes(view[start + 1 : start + 1 + len(dcid)]) == dcid:
                    self._receive_short(view, start, end, ecn, now)
                return
            try:
                header = parse_long_header(view, start, end)
            except HeaderError:
                self._trace_dropped(now, end - start, "header_parse_error")
                return
            # RFC 9000 §12.2: packets for another connection ID than the first are not for us.
            if dcid is not None and header.dcid != dcid:
                self._trace_dropped(now, header.packet_end - start, "connection_unknown")
            else:
                dcid = header.dcid
                self._receive_long(view, start, header, end - first, ecn, now)
            start = header.packet_end

    def _receive_packet(
        self, view: memoryview, start: int, end: int, datagram_size: int, ecn: int, now: float
    ) -> None:
        """One packet by itself, of either form."""
        if view[start] & LONG_HEADER_FORM:
            header = parse_long_header(view, start, end)
            self._receive_long(view, start, header, max(datagram_size, MIN_INITIAL_DATAGRAM), ecn, now)
        else:
            self._receive_short(view, start, end, ecn, now)

    def _receive_long(
        self, view: memoryview, start: int, header: LongHeader, datagram_size: int, ecn: int, now: float
    ) -> None:
        parts = self._parts
        if header.type is PacketType.VERSION_NEGOTIATION:
            if accept_version_negotiation(parts, header):
                trace_unnumbered(parts.tracer, header, start, now)
            else:
                self._trace_dropped(now, header.packet_end - start, "unexpected_version_negotiation")
            return
        if header.type is PacketType.RETRY:
            if accept_retry(parts, header, bytes(view[start : header.packet_end])):
                trace_unnumbered(parts.tracer, header, start, now)
            else:
                self._trace_dropped(now, header.packet_end - start, "unexpected_retry")
            return
        level = _LEVELS.get(header.type) if header.type is not None else None
        trigger = self._objection(header, level, datagram_size)
        if level is None or trigger is not None:
            self._trace_dropped(now, header.packet_end - start, trigger or "unknown_packet_type")
            return
        if level is Level.ZERO_RTT:
            self._receive_zero_rtt(view, start, header, ecn, now)
            return
        space = parts.spaces[level]
        keys = self._long_header_keys(header, level)
        if keys is None:
            if space.next_pn == 0 and level is Level.HANDSHAKE:
                self._keep_early(view, start, header.packet_end, ecn, Level.HANDSHAKE, now)
            else:
                self._trace_dropped(now, header.packet_end - start, "key_unavailable")
            return
        opened = self._open(
            space, keys, view, start, header.pn_offset, header.packet_end, LONG_RESERVED_BITS, now
        )
        if opened is None:
            self._trace_dropped(now, header.packet_end - start, self._drop_reason)
            return
        pn, payload = opened
        trace_long(parts, level, header, view, start, opened, now, waited=self._replaying)
        if parts.is_client and level is Level.INITIAL and self._may_switch_version:
            # RFC 9369 §4.1: the server's first packet in another version tells that the connection goes on
            # in that; while it has no complete ClientHello it answers in the original one.
            parts.switch_version(header.version)
        if parts.is_client and parts.peer_source_cid is None:
            # RFC 9000 §7.2: from the first packet on the server is addressed by the ID it chose.
            parts.peer_source_cid = header.scid
            parts.peer_cids.replace_initial(header.scid)
        if parts.state is ConnectionState.HANDSHAKE and pn > space.acks.largest_received:
            parts.paths.on_handshake_packet(now)
        end = header.packet_end - TAG_LENGTH
        eliciting = self._dispatch.process(space, view, payload, end, header.dcid, now)
        space.acks.on_received(pn, pn, eliciting, now, ecn)
        if level is Level.HANDSHAKE and not parts.is_client:
            # RFC 9000 §8.1, RFC 9001 §4.9.1: whoever has handshake keys has got our Initial, so the
            # address is real and Initial packets have no more use.
            parts.paths.on_handshake_keys_used()
            parts.discard_space(Level.INITIAL)

    def _objection(self, header: LongHeader, level: Level | None, datagram_size: int) -> str | None:
        """Why a packet with this header is dropped unread; None if it is not."""
        parts = self._parts
        # RFC 9287 §3: what we announce, we accept; so does a client's server after a token of ours.
        if header.version not in parts.config.versions or not (header.fixed_bit or parts.config.grease):
            return "unsupported_version_or_type"
        if not self._is_ours(header):
            return "connection_unknown"
        if level is not Level.INITIAL:
            return None
        if parts.is_client:
            # RFC 9000 §17.2.2: a server's Initial has no token.
            return "invalid_token" if header.token else None
        # RFC 9000 §14.1: a client pads; an Initial in a smaller datagram was not sent by one that does.
        return "invalid_length" if datagram_size < MIN_INITIAL_DATAGRAM else None

    def _receive_zero_rtt(
        self, view: memoryview, start: int, header: LongHeader, ecn: int, now: float
    ) -> None:
        """0-RTT packets wait for the ClientHello; without keys, or late, they are dropped."""
        parts = self._parts
        if parts.is_client or header.version != parts.original_version:
            self._trace_dropped(now, header.packet_end - start, "unexpected_packet")
            return
        if early_data.is_undecided(parts):
            self._keep_early(view, start, header.packet_end, ecn, Level.ZERO_RTT, now)
            return
        keys = None if early_data.keys_gone(parts, now) else parts.handshake.early_keys
        if keys is None:
            self._trace_dropped(now, header.packet_end - start, "key_unavailable")
            return
        if not parts.early_data_open:
            self._keep_early(view, start, header.packet_end, ecn, Level.ZERO_RTT, now)
            return
        space = parts.spaces[Level.ONE_RTT]
        opened = self._open(
            space, keys, view, start, header.pn_offset, header.packet_end, LONG_RESERVED_BITS, now
        )
        if opened is None:
            self._trace_dropped(now, header.packet_end - start, self._drop_reason)
            return
        pn, payload = opened
        trace_long(parts, Level.ZERO_RTT, header, view, start, opened, now, waited=self._replaying)
        end = header.packet_end - TAG_LENGTH
        eliciting = self._dispatch.process(space, view, payload, end, header.dcid, now, Level.ZERO_RTT)
        space.acks.on_received(pn, pn, eliciting, now, ecn)

    def _long_header_keys(self, header: LongHeader, level: Level) -> PacketKeys | None:
        """The keys for a packet with this header; None where they are gone or not there yet."""
        parts = self._parts
        space = parts.spaces[level]
        if level is not Level.INITIAL:
            return space.read_keys if header.version == parts.version.version else None
        if space.write_keys is None:
            return None
        if parts.is_client and header.version not in parts.initial_read_keys and self._may_switch_version:
            version = VERSIONS[header.version]
            _, read_keys = initial_keys(version, parts.initial_destination_cid, is_client=True)
            return read_keys
        return parts.initial_read_keys.get(header.version)

    @property
    def _may_switch_version(self) -> bool:
        """Client: whether the server may still go over to another version (RFC 9368 §2.3)."""
        parts = self._parts
        is_original = parts.version.version == parts.original_version
        return is_original and parts.spaces[Level.HANDSHAKE].read_keys is None

    def _receive_short(self, view: memoryview, start: int, end: int, ecn: int, now: float) -> None:
        parts = self._parts
        space = parts.spaces[_ONE_RTT]
        pn_offset = start + 1 + parts.local_cids.length
        dcid = bytes(view[start + 1 : pn_offset])
        # RFC 9000 §17.3.1: without the fixed bit it is no packet of this version, unless we grease it.
        is_ours = (view[start] & FIXED_BIT or parts.config.grease) and dcid in parts.local_cids
        keys = space.read_keys
        if is_ours and (keys is None or parts.state is _HANDSHAKE):
            # RFC 9001 §5.7: not before the handshake is complete, even where keys are there.
            self._keep_early(view, start, end, ecn, _ONE_RTT, now)
            return
        opened = None
        self._drop_reason = "connection_unknown"
        if is_ours and keys is not None:
            opened = self._open(space, keys, view, start, pn_offset, end, SHORT_RESERVED_BITS, now)
        if opened is None:
            self._on_unopened(view, start, end, now)
            return
        pn, payload = opened
        if parts.tracer is not None:
            trace_short(parts.tracer, parts, view, start, end, opened, now, waited=self._replaying)
        paths, dispatch = parts.paths, self._dispatch
        paths.on_authentic(dcid, now)
        eliciting = dispatch.process(space, view, payload, end - TAG_LENGTH, dcid, now)
        if not dispatch.probing and parts.state is not _DRAINING:
            paths.on_non_probing(pn, now)
        space.acks.on_received(pn, pn, eliciting, now, ecn)

    def _open(
        self,
        space: PacketSpace,
        keys: PacketKeys,
        view: memoryview,
        start: int,
        pn_offset: int,
        end: int,
        reserved_bits: int,
        now: float,
    ) -> tuple[int, int] | None:
        """Open one packet: its number and where the payload starts; None if it has to be dropped."""
        acks = space.acks
        self._drop_reason = "decryption_failure"
        unprotected = unprotect_header(keys, view, start, pn_offset, end, acks.largest_received + 1)
        if unprotected is None:
            return None
        first_byte, pn, pn_length = unprotected
        if pn <= acks.largest_received and acks.is_duplicate(pn):
            self._drop_reason = "duplicate"
            return None
        payload = pn_offset + pn_length
        begins_phase = False
        key_phase = self._parts.key_phase
        bit = 1 if first_byte & KEY_PHASE_BIT else 0
        has_phase = not first_byte & LONG_HEADER_FORM
        if has_phase and bit != key_phase.bit:
            found = key_phase.read_keys(bit, pn, now)
            if found is None:
                self._drop_reason = "key_unavailable"
                return None
            keys, begins_phase = found
        if not open_payload(keys, view, start, payload, end, pn):
            self._check_integrity_limit(1)
            return None
        self.processed = self.opened_any = True
        if first_byte & reserved_bits:
            # RFC 9000 §17.2, §17.3.1: judged only once the packet is authentic.
            raise TransportError(TransportErrorCode.PROTOCOL_VIOLATION, "reserved bits are not zero")
        if begins_phase:
            key_phase.on_peer_updated(pn, now)
        elif has_phase:
            key_phase.on_opened(bit, pn, now)
        return pn, payload

    def _is_ours(self, header: LongHeader) -> bool:
        """Whether both connection IDs belong to this connection (RFC 9000 §7.2)."""
        parts = self._parts
        if parts.peer_source_cid is not None and header.scid != parts.peer_source_cid:
            return False
        if header.dcid in parts.local_cids:
            return True
        return not parts.is_client and header.dcid == parts.initial_destination_cid

    def _keep_early(self, view: memoryview, start: int, end: int, ecn: int, level: Level, now: float) -> None:
        if not self._early.keep(view[start:end], ecn):
            self._trace_dropped(now, end - start, "key_unavailable")
        elif self._parts.tracer is not None:
            self._parts.tracer.packet_buffered(now, level, end - start)

    def _on_unopened(self, view: memoryview, start: int, end: int, now: float) -> None:
        """A short-header packet that we can't read may be a stateless reset (RFC 9000 §10.3.1)."""
        parts = self._parts
        token = tail_token(view, start, end)
        if parts.state is ConnectionState.DRAINING:
            # A batch of resets, or of packets after a close: once is enough.
            return
        if token is not None and parts.peer_cids.is_reset_token(token, same_token):
            if parts.tracer is not None:
                trace_stateless_reset(parts.tracer, end - start, token, now)
            parts.state = ConnectionState.DRAINING
            parts.events.append(
                ConnectionClosed(
                    0, 0, "stateless reset", application=False, remote=True, kind="stateless_reset"
                )
            )
            return
        self._trace_dropped(now, end - start, self._drop_reason)

    def _check_integrity_limit(self, failed: int) -> None:
        """RFC 9001 §6.6: so many forgeries that one may soon succeed."""
        self._failed_opens += failed
        keys = self._parts.spaces[Level.ONE_RTT].read_keys
        if keys is not None and self._failed_opens > keys.suite.integrity_limit:
            raise TransportError(TransportErrorCode.AEAD_LIMIT_REACHED, "too many packets failed to open")

    def _trace_dropped(self, now: float, size: int, trigger: str) -> None:
        tracer = self._parts.tracer
        if tracer is not None:
            tracer.packet_dropped(now, size, trigger)
