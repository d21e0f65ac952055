"""The way out: what goes in the next datagrams (RFC 9000 §12, §13, §14; RFC 9002 §7).

The normal case of a sender is a run: many full packets of one long stream or of many short ones, sealed by
column (`run_writer`). What does not fit that (ACKs, control frames, tails, the handshake) is built one
datagram at a time, packet by packet.
"""

from collections.abc import Sequence

from endpoint.batch import ECN_NOT_ECT, MAX_SEGMENTS, TAG_LENGTH, PacketBuffer, SendBatch
from endpoint.level import Level
from endpoint.recovery.ecn import EcnState
from endpoint.recovery.sent_packets import Content, SentRun
from endpoint.transport.close import Closer
from endpoint.transport.contents import PacketContent
from endpoint.transport.packet_filler import PacketFiller
from endpoint.transport.packet_writer import MIN_PAYLOAD, Packet, PacketWriter
from endpoint.transport.parts import Parts
from endpoint.transport.paths import Path
from endpoint.transport.run_writer import MIN_RUN, RunWriter
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.frame_writer import append_connection_close, append_ping

# RFC 9000 §14.1.
MIN_INITIAL_DATAGRAM = 1200
# Room below which another packet in the same datagram is not worth its header.
MIN_PACKET_ROOM = 64
# The kernel's limit for one UDP_SEGMENT send.
MAX_BATCH_BYTES = 65507

_LEVELS = (Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT)
_INITIAL, _HANDSHAKE, _ONE_RTT = _LEVELS  # see `recv_stream`: found faster
_ECN_TESTING = EcnState.TESTING


class Transmitter:
    """Fills a buffer with the next batch. `pacing_deadline` is when it may go on, if pacing stopped it."""

    __slots__ = (
        "_filler",
        "_parts",
        "_runs",
        "_size",
        "_writer",
        "pacing_deadline",
        "sent_eliciting",
    )

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._filler = PacketFiller(parts)
        self._writer = PacketWriter(parts)
        self._runs = RunWriter(parts, self._writer)
        self._size = parts.recovery.max_datagram_size
        self.pacing_deadline: float | None = None
        self.sent_eliciting = False

    def transmit(self, buffer: PacketBuffer, now: float) -> SendBatch | None:
        """The next batch, None if there is nothing to send or nothing may be sent now."""
        parts = self._parts
        paths, recovery = parts.paths, parts.recovery
        self.pacing_deadline = None
        self.sent_eliciting = False
        if paths.pending and parts.closer is None and parts.spaces[_ONE_RTT].write_keys is not None:
            path = None if paths.probes.full else paths.next_probe(now)
            if path is not None:
                return self._probe(path, buffer, now)
        limit = paths.active.budget()
        self._size = recovery.max_datagram_size
        if limit is not None:
            # RFC 9000 §8.1: three datagrams of this size for a client's one, with nothing left over.
            self._size = min(self._size, MIN_INITIAL_DATAGRAM)
        # A smaller datagram would be of no use to the handshake: Initials are padded.
        recovery.amplification_limited = limit is not None and limit < self._size
        if recovery.amplification_limited:
            return None
        if parts.closer is not None:
            return self._transmit_close(parts.closer, buffer, now)
        if len(parts.live_spaces) == 1:
            # As it is for nearly all of a connection's life.
            return self._transmit_one_rtt(parts.live_spaces[0], buffer, limit, now)
        usable = [parts.usable_space(level) for level in _LEVELS]
        spaces = [space for space in usable if space is not None]
        if spaces and spaces[-1].level is _ONE_RTT and not parts.sends_early_data:
            return self._transmit_one_rtt(spaces[-1], buffer, limit, now, spaces[:-1])
        allowed = self._allowed(now)
        if limit is not None:
            allowed = min(allowed, limit)
        if allowed < self._size:
            self._let_handshake_go(spaces)
        if not any(self._filler.is_due(space, allowed >= self._size) for space in spaces):
            return None
        return self._datagrams(spaces, buffer, allowed, limit, now)

    def _transmit_one_rtt(
        self,
        space: PacketSpace,
        buffer: PacketBuffer,
        limit: int | None,
        now: float,
        handshake: Sequence[PacketSpace] = (),
    ) -> SendBatch | None:
        """The next batch once there are 1-RTT packets; what is left of the `handshake` goes with them."""
        parts, filler, size = self._parts, self._filler, self._size
        data = filler.has_application_data
        urgent = space.acks.ack_now or filler.has_frames(space)
        for other in handshake:
            urgent = urgent or other.acks.ack_now or filler.has_frames(other)
        if not urgent and not data:
            return None
        self._update_keys_in_time(space, now)
        if space.next_pn >= parts.extensions.holes.due_at:
            parts.extensions.holes.skip()
        allowed = self._allowed(now)
        if limit is not None:
            allowed = min(allowed, limit)
        at_most = MAX_SEGMENTS
        if allowed >= MIN_RUN * size and parts.streams.has_data:
            probe_size = parts.recovery.pmtud.probe_size(now)
            if probe_size is not None and not self._may_probe_mtu(probe_size, allowed):
                probe_size = None
            if urgent or parts.extensions.datagrams.go_first:
                # Only what must come first, where another kind of batch is to follow.
                at_most = 1 if probe_size is not None or parts.extensions.datagrams.go_first else at_most
            else:
                if probe_size is not None:
                    return self._mtu_probe(space, buffer, probe_size, now)
                most = min(allowed, MAX_BATCH_BYTES) // size
                most = min(most, parts.config.max_batch_segments, buffer.capacity(size))
                found = parts.streams.next_range(most * size) if most >= MIN_RUN else None
                run = None if found is None else self._runs.write_long(space, buffer, size, most, found, now)
                if run is not None:
                    n = run.last - run.first + 1
                    return self._finish(space, [run], n * size, size, now)
        elif allowed < size:
            self._let_handshake_go(handshake)
            if not any(filler.is_due(other, False) for other in (space, *handshake)):
                return None
        return self._datagrams((*handshake, space), buffer, allowed, limit, now, at_most)

    def _may_probe_mtu(self, size: int, allowed: int) -> bool:
        """Probes go along with data, on a path that may take any number of bytes."""
        parts = self._parts
        validated = parts.path.validated and parts.handshake.confirmed
        return size <= allowed and validated

    def _mtu_probe(self, space: PacketSpace, buffer: PacketBuffer, size: int, now: float) -> SendBatch:
        """PING and PADDING in a datagram of its own (RFC 9000 §14.4): a lost one takes nothing with it."""
        payload = bytearray()
        append_ping(payload)
        pn_length = self._writer.pn_length(space, space.next_pn)
        payload += bytes(size - self._writer.header_room(space, pn_length) - TAG_LENGTH - len(payload))
        end, pn = self._writer.write(space, pn_length, payload, buffer, 0, now, mtu_probe=True)
        run = SentRun(pn, pn, now, end, mtu_probe=True, path=self._parts.path.id)
        self._parts.recovery.pmtud.on_probe_sent(end)
        return self._finish(space, [run], end, end, now)

    def _update_keys_in_time(self, space: PacketSpace, now: float) -> None:
        """RFC 9001 §6.6: a key update comes well before the keys are used up, or when settings want it.

        Then it leaves the peer its time (§6.5), for which there would still be packets enough otherwise.
        """
        parts = self._parts
        keys, phase, wanted = space.write_keys, parts.key_phase, parts.config.key_update_after
        assert keys is not None
        if keys.sealed < keys.suite.confidentiality_limit // 2 and (
            wanted is None or phase.packets < wanted or not phase.is_settled(now)
        ):
            return
        largest_acked = parts.recovery.sent_packets[_ONE_RTT].largest_acked
        if parts.handshake.confirmed and phase.may_update(largest_acked):
            phase.update(now)

    def _allowed(self, now: float) -> int:
        """Bytes that congestion control and pacing let go now (RFC 9002 §7.7)."""
        recovery = self._parts.recovery
        congestion, size = recovery.congestion, self._size
        window = congestion.congestion_window - congestion.bytes_in_flight
        if window < size:
            return 0
        budget = recovery.pacer.budget(now)
        if budget < size:
            self.pacing_deadline = recovery.pacer.next_time(size, now)
            return 0
        return min(window, budget)

    def _datagrams(
        self,
        spaces: Sequence[PacketSpace],
        buffer: PacketBuffer,
        allowed: int,
        limit: int | None,
        now: float,
        at_most: int = MAX_SEGMENTS,
    ) -> SendBatch | None:
        """Datagrams packet by packet; more than one while they come out exactly full, or of one size.

        Behind them a mixed run, once there is nothing but streams left to send.
        """
        parts = self._parts
        size = self._size
        total = count = most = 0
        runs: list[tuple[PacketSpace, SentRun]] = []
        # How many there may be is looked up after the first, which mostly is the only one.
        while not count or count < most:
            if len(parts.live_spaces) == 1:
                length = self._short_packet(spaces[0], buffer, total, size, allowed, runs, now)
            else:
                length = self._datagram(spaces, buffer, total, size, allowed, runs, now)
            total += length
            allowed -= length
            if length < size:
                more = parts.extensions.datagrams.has_data and parts.handshake.confirmed
                if not length or length < total or not more:
                    break
                # What an application sends as DATAGRAM often has one size: then so have the packets.
                size = length
            if not count:
                most = min(MAX_BATCH_BYTES if limit is None else limit, MAX_BATCH_BYTES) // self._size
                most = min(most, at_most, parts.config.max_batch_segments, buffer.capacity(self._size))
            count += 1
            if count < most and self._has_streams_only(spaces[0]):
                length, mixed = self._runs.write_mixed(
                    spaces[0], buffer, size, count, min(most - count, allowed // size), now
                )
                total += length
                runs += [(spaces[0], run) for run in mixed]
                break
        if not total:
            return None
        return self._finish_all(runs, total, size, now, parts.paths.active)

    def _has_streams_only(self, space: PacketSpace) -> bool:
        """Whether streams, and nothing else, have something to send."""
        parts = self._parts
        return (
            len(parts.live_spaces) == 1
            and parts.streams.has_data
            and not parts.extensions.datagrams.has_data
            and not self._filler.has_frames(space)
        )

    def _let_handshake_go(self, spaces: Sequence[PacketSpace]) -> None:
        """What the handshake needs next goes as a probe when 0-RTT data has filled the window.

        Nothing else would ever make room: there is no PTO for 0-RTT packets before the handshake is
        confirmed (RFC 9002 §6.2.1), and none for a space without packets in flight.
        """
        sent = self._parts.recovery.sent_packets
        for space in spaces:
            in_flight = sent[space.level].ack_eliciting_in_flight
            if space.level is not _ONE_RTT and space.crypto.send.has_pending and not in_flight:
                space.probes = max(space.probes, 1)

    def _short_packet(
        self,
        space: PacketSpace,
        buffer: PacketBuffer,
        start: int,
        size: int,
        allowed: int,
        runs: list[tuple[PacketSpace, SentRun]],
        now: float,
    ) -> int:
        """What `_datagram` does where there is nothing to coalesce: one 1-RTT packet."""
        writer = self._writer
        payload = bytearray()
        contents: list[Content] = []
        pn_length = writer.pn_length(space, space.next_pn)
        capacity = size - writer.header_room(space, pn_length) - TAG_LENGTH
        eliciting = self._filler.fill(space, payload, contents, capacity, allowed >= self._size, now)
        if not payload:
            return 0
        if len(payload) < MIN_PAYLOAD:
            payload += bytes(MIN_PAYLOAD - len(payload))
        end, pn = writer.write(space, pn_length, payload, buffer, start, now)
        path = self._parts.paths.active
        runs.append((space, _sent(pn, now, end - start, contents, path, eliciting, eliciting)))
        if eliciting and space.probes:
            space.probes -= 1
        return end - start

    def _datagram(
        self,
        spaces: Sequence[PacketSpace],
        buffer: PacketBuffer,
        start: int,
        size: int,
        allowed: int,
        runs: list[tuple[PacketSpace, SentRun]],
        now: float,
    ) -> int:
        """Write one datagram of at most `size` at `start`; its length, 0 if there is nothing to send."""
        parts = self._parts
        room = size
        packets: list[Packet] = []
        for space in spaces:
            packet = self._packet(space)
            capacity = room - packet.header_room - TAG_LENGTH
            if capacity < MIN_PACKET_ROOM:
                break
            packet.eliciting = self._filler.fill(
                space, packet.payload, packet.contents, capacity, allowed >= self._size, now
            )
            if packet.payload:
                packet.payload += bytes(max(0, MIN_PAYLOAD - len(packet.payload)))
                packets.append(packet)
                room -= packet.size
        if not packets:
            return 0
        first = packets[0]
        padding = 0
        if first.space.level is _INITIAL and (parts.is_client or any(p.eliciting for p in packets)):
            # RFC 9000 §14.1. In the Initial itself: the other packets stay as small as they are.
            padding = MIN_INITIAL_DATAGRAM - (size - room)
            first.payload += bytes(max(0, padding))
        position = start
        for packet in packets:
            position = self._write(packet, buffer, position, runs, now, padded=padding > 0)
        return position - start

    def _packet(self, space: PacketSpace) -> Packet:
        pn_length = self._writer.pn_length(space, space.next_pn)
        return Packet(space, pn_length, self._writer.header_room(space, pn_length))

    def _write(
        self,
        packet: Packet,
        buffer: PacketBuffer,
        start: int,
        runs: list[tuple[PacketSpace, SentRun]],
        now: float,
        *,
        padded: bool,
    ) -> int:
        """Number, write and seal a packet at `start`; returns where it ends."""
        space = packet.space
        end, pn = self._writer.write(space, packet.pn_length, packet.payload, buffer, start, now)
        in_flight = packet.eliciting or (padded and space.level is _INITIAL)
        run = _sent(pn, now, end - start, packet.contents, self._parts.path, packet.eliciting, in_flight)
        runs.append((space, run))
        if packet.eliciting and space.probes:
            space.probes -= 1
        return end

    def _probe(self, path: Path, buffer: PacketBuffer, now: float) -> SendBatch:
        """One datagram that asks or answers whether `path` works. It waits for neither pacer nor window."""
        space = self._parts.spaces[_ONE_RTT]
        dcid = self._parts.paths.cid(path)
        assert dcid is not None
        budget = path.probe_budget()
        # RFC 9000 §8.2.1: of full size, unless the limit of §8.1 forbids.
        room = MIN_INITIAL_DATAGRAM if budget is None else min(budget, MIN_INITIAL_DATAGRAM)
        pn_length = self._writer.pn_length(space, space.next_pn)
        capacity = room - 1 - len(dcid) - pn_length - TAG_LENGTH
        payload = bytearray()
        contents: list[Content] = []
        challenge = self._filler.fill_probe(path, payload, contents, capacity, now)
        full_size = room == MIN_INITIAL_DATAGRAM
        if full_size:
            payload += bytes(capacity - len(payload))
        end, pn = self._writer.write(space, pn_length, payload, buffer, 0, now, path)
        if challenge is not None and path.validation is not None:
            path.validation.on_sent(challenge, now, full_size=full_size)
        self._parts.paths.probes.add(pn)
        run = _sent(pn, now, end, contents, path, eliciting=True, in_flight=True)
        return self._finish_all([(space, run)], end, end, now, path, probe=True)

    def _finish(
        self, space: PacketSpace, runs: list[SentRun], length: int, size: int, now: float
    ) -> SendBatch:
        return self._finish_all([(space, run) for run in runs], length, size, now, self._parts.path)

    def _finish_all(
        self,
        runs: list[tuple[PacketSpace, SentRun]],
        length: int,
        size: int,
        now: float,
        path: Path,
        *,
        probe: bool = False,
    ) -> SendBatch:
        """Account for what goes out."""
        parts = self._parts
        # RFC 9000 §13.4.2: a path of its own has its own state. Packets that only try a path out have none,
        # nor have any before it is validated: the few that may go must not fall to a path that drops marks.
        recovery = parts.recovery
        settled = path.validation is None and path is parts.paths.active
        if recovery.pto_count and not path.validated:
            # Nor what is repeated in the handshake, for the same reason.
            settled = False
        if recovery.ecn.state is _ECN_TESTING and (probe or not any(run.ack_eliciting for _, run in runs)):
            # What is not acknowledged tests nothing, and an answer to a challenge is not for tests: on a path
            # that drops marks they would just be lost.
            settled = False
        ecn = recovery.ecn.codepoint if settled else ECN_NOT_ECT
        for space, run in runs:
            run.ecn = ecn
            recovery.on_packet_sent(space.level, run, now)
            if run.ack_eliciting:
                self.sent_eliciting = True
        # 1-RTT packets come last in a datagram.
        if space.level is _ONE_RTT:
            parts.key_phase.on_sent()
        if len(parts.live_spaces) > 1 and parts.is_client and any(s.level is _HANDSHAKE for s, _ in runs):
            # RFC 9001 §4.9.1: a client drops Initial keys when it first sends a Handshake packet.
            parts.discard_space(_INITIAL)
        path.on_sent(length)
        return SendBatch(length, min(size, length), path.peer, path.local, ecn)

    def _transmit_close(self, closer: Closer, buffer: PacketBuffer, now: float) -> SendBatch | None:
        """CONNECTION_CLOSE at every level the peer may be able to read (RFC 9000 §10.2.3)."""
        if not closer.due:
            return None
        closer.due = False
        parts = self._parts
        packets: list[Packet] = []
        room = self._size
        for level in _LEVELS:
            space = parts.spaces[level]
            if space.write_keys is None:
                continue
            packet = self._packet(space)
            frame = closer.reason.frame_at(level)
            capacity = room - packet.header_room - TAG_LENGTH
            append_connection_close(
                packet.payload, frame.error_code, frame.frame_type, frame.reason, min(capacity, 300)
            )
            packet.payload += bytes(max(0, MIN_PAYLOAD - len(packet.payload)))
            packets.append(packet)
            room -= packet.size
        if not packets:
            return None
        if packets[0].space.level is _INITIAL and parts.is_client:
            packets[0].payload += bytes(max(0, MIN_INITIAL_DATAGRAM - (self._size - room)))
        position = 0
        for packet in packets:
            position, _ = self._writer.write(
                packet.space, packet.pn_length, packet.payload, buffer, position, now
            )
        parts.path.on_sent(position)
        return SendBatch(position, position, parts.path.peer, parts.path.local, ECN_NOT_ECT)


def _sent(
    pn: int, now: float, size: int, contents: list[Content], path: Path, eliciting: bool, in_flight: bool
) -> SentRun:
    """What recovery has to know of one packet."""
    content: Content | None = None
    if contents:
        content = contents[0] if len(contents) == 1 else PacketContent(contents)
    return SentRun(
        pn, pn, now, size, ack_eliciting=eliciting, in_flight=in_flight, content=content, path=path.id
    )
