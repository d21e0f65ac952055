"""What goes into one packet, in order of urgency: ACK, answers, handshake bytes, control frames, streams."""

from endpoint.level import Level
from endpoint.recovery.sent_packets import Content
from endpoint.transport.contents import AckContent, ControlContent
from endpoint.transport.parts import Parts
from endpoint.transport.paths import Path
from endpoint.transport.probes import repeat_oldest
from endpoint.transport.send_stream import StreamContent
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.frame_writer import (
    append_ack,
    append_crypto,
    append_frame,
    append_immediate_ack,
    append_path_challenge,
    append_path_response,
    append_ping,
    begin_stream,
    crypto_overhead,
)
from endpoint.wire.frames import AckFrequency, Frame, NewConnectionId, NewToken, RetireConnectionId

# Ranges in one ACK frame: what a peer can use, and no more than a quarter of a packet (RFC 9000 §13.2.4).
MAX_ACK_RANGES = 32
# The largest frame of `PacketSpace.control` but NEW_TOKEN: NEW_CONNECTION_ID with an ID of 20 bytes.
MAX_CONTROL_FRAME = 54
# NEW_TOKEN without its token: the type, and a length of two bytes.
NEW_TOKEN_OVERHEAD = 3
# PATH_CHALLENGE and PATH_RESPONSE with their 8 bytes.
PATH_FRAME = 9
# IMMEDIATE_ACK, or the shorter PING: an ACK leaves room for what makes its packet ack-eliciting.
IMMEDIATE_ACK = 2
# Below this a STREAM or CRYPTO frame is mostly header.
MIN_DATA_ROOM = 32

_ONE_RTT = Level.ONE_RTT  # see `recv_stream`: a name of our own is found faster


class PacketFiller:
    """Fills payloads. It takes what is due from the parts and says what it took by contents."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def is_due(self, space: PacketSpace, may_send: bool) -> bool:
        """Whether `fill` would append anything, but for what flow control forbids."""
        if space.acks.ack_now:
            return True
        if not may_send and not space.probes:
            return False
        return self.has_frames(space) or (space.level is _ONE_RTT and self.has_application_data)

    def fill(
        self,
        space: PacketSpace,
        payload: bytearray,
        contents: list[Content],
        capacity: int,
        may_send: bool,
        now: float,
    ) -> bool:
        """Append frames to `payload`, up to `capacity` bytes; True if the packet is ack-eliciting.

        `may_send` tells whether congestion control admits more than ACKs; a probe goes out anyway
        (RFC 9002 §7.5). Nothing is appended when nothing is due.
        """
        one_rtt = space.level is _ONE_RTT
        may_send = may_send or space.probes > 0
        has_frames = may_send and self.has_frames(space)
        has_data = has_frames or (one_rtt and may_send and self.has_application_data)
        acks = space.acks
        with_ack = acks.ack_now or (has_data and acks.ack_eliciting_pending > 0)
        if with_ack:
            self._append_ack(space, payload, capacity - IMMEDIATE_ACK, now)
        eliciting = 0
        if has_data:
            if one_rtt and space.probes and self._parts.extensions.ack_frequency.may_send:
                # Draft-ietf-quic-ack-frequency §7: a probe is to be answered at once.
                append_immediate_ack(payload)
                eliciting = 1
            if has_frames:
                content = self._append_content(space, payload, contents, capacity, now)
            else:
                content = self._append_application_data(payload, contents, capacity)
            if not content and space.probes:
                # RFC 9002 §6.2.4: rather what may be lost than nothing, in each of the probes.
                repeat_oldest(self._parts, space.level)
                content = self._append_content(space, payload, contents, capacity, now)
            eliciting += content
            if not eliciting and space.probes:
                append_ping(payload)
                eliciting = 1
        if with_ack:
            rtt = self._parts.recovery.rtt.smoothed_rtt
            if one_rtt and not eliciting and may_send and acks.needs_ping(now, rtt):
                append_ping(payload)
                eliciting = 1
            contents.append(AckContent(acks, acks.on_ack_sent(now, ack_eliciting=eliciting > 0)))
        return eliciting > 0

    @property
    def has_application_data(self) -> bool:
        """Whether STREAM or DATAGRAM frames wait to be sent."""
        parts = self._parts
        return parts.streams.has_data or parts.extensions.datagrams.has_data

    def has_frames(self, space: PacketSpace) -> bool:
        """Whether anything but streams and ACKs is due."""
        if space.probes or space.crypto.send.has_pending or space.control:
            return True
        if space.level is not _ONE_RTT:
            return False
        parts = self._parts
        return (
            parts.streams.has_control_frames or parts.peer_cids.has_retirements or parts.local_cids.issue_due
        )

    def fill_probe(
        self, path: Path, payload: bytearray, contents: list[Content], capacity: int, now: float
    ) -> bytes | None:
        """What goes on one path only: PATH_CHALLENGE and PATH_RESPONSE, one of each (RFC 9000 §8.2).

        On the active path with an ACK, so that it is no probing packet: a peer that has been led astray
        by copies comes back (§9.3.3). Returns the data of the challenge, None if there is none.
        """
        challenge: bytes | None = None
        if path.validation is not None and path.validation.due:
            challenge = self._parts.paths.new_challenge()
            append_path_challenge(payload, challenge)
            if path is not self._parts.path:
                self._append_connection_ids(payload, contents, capacity - PATH_FRAME)
        if path.responses and capacity - len(payload) >= PATH_FRAME:
            append_path_response(payload, path.responses.popleft())
        space = self._parts.spaces[_ONE_RTT]
        if path is self._parts.path and space.acks.largest_received >= 0:
            before = len(payload)
            self._append_ack(space, payload, capacity - len(payload), now)
            if len(payload) > before:
                contents.append(AckContent(space.acks, space.acks.on_ack_sent(now, ack_eliciting=True)))
        return challenge

    def _append_connection_ids(self, payload: bytearray, contents: list[Content], capacity: int) -> None:
        """Those that the peer may lack for its answer from another path (RFC 9000 §8.2)."""
        local_cids = self._parts.local_cids
        self._parts.spaces[_ONE_RTT].control.extend(local_cids.issue())
        for frame in local_cids.unacknowledged:
            if capacity - len(payload) >= MAX_CONTROL_FRAME:
                append_frame(payload, frame)
                contents.append(ControlContent(frame, self._on_acked, self._on_lost))

    def _append_ack(self, space: PacketSpace, payload: bytearray, capacity: int, now: float) -> None:
        acks = space.acks
        exponent = self._parts.config.ack_delay_exponent
        delay = int(acks.ack_delay(now) * 1e6) >> exponent if space.level is _ONE_RTT else 0
        append_ack(payload, acks.ack_ranges(MAX_ACK_RANGES), delay, acks.ecn_counts, capacity)

    def _append_crypto(
        self, space: PacketSpace, payload: bytearray, contents: list[Content], capacity: int
    ) -> int:
        """CRYPTO frames; how many."""
        send = space.crypto.send
        count = 0
        while send.has_pending:
            room = capacity - len(payload)
            if room < MIN_DATA_ROOM:
                break
            span = send.next_range(room, room)
            if span is None:
                break
            offset, length, _ = span
            length = min(length, room - crypto_overhead(offset, room))
            append_crypto(payload, offset, send.block(offset, length))
            send.on_sent(offset, length, False)
            contents.append(StreamContent(send, offset, length, length, False))
            count += 1
        return count

    def _append_content(
        self, space: PacketSpace, payload: bytearray, contents: list[Content], capacity: int, now: float
    ) -> int:
        """Handshake bytes, and at 1-RTT control frames and application data; how many frames."""
        count = self._append_crypto(space, payload, contents, capacity)
        if space.level is _ONE_RTT:
            count += self._append_control(space, payload, contents, capacity, now)
            count += self._append_application_data(payload, contents, capacity)
        return count

    def _append_control(
        self, space: PacketSpace, payload: bytearray, contents: list[Content], capacity: int, now: float
    ) -> int:
        """Control frames of connection IDs, handshake and streams; how many."""
        parts = self._parts
        space.control.extend(parts.peer_cids.take_retirements())
        if parts.local_cids.issue_due:
            space.control.extend(parts.local_cids.issue())
        count = 0
        while space.control and capacity - len(payload) >= _max_size(space.control[0]):
            frame = space.control.popleft()
            append_frame(payload, frame)
            contents.append(ControlContent(frame, self._on_acked, self._on_lost))
            count += 1
        streams = parts.streams
        if streams.has_control_frames:
            rtt = parts.recovery.rtt.smoothed_rtt
            for stream_frame in streams.take_control_frames(now, rtt, capacity - len(payload)):
                append_frame(payload, stream_frame)
                contents.append(
                    ControlContent(stream_frame, streams.on_control_acked, streams.on_control_lost)
                )
                count += 1
        return count

    def _append_application_data(self, payload: bytearray, contents: list[Content], capacity: int) -> int:
        """DATAGRAM and STREAM frames, those first whose turn it is; how many."""
        parts = self._parts
        datagrams = parts.extensions.datagrams
        if not datagrams.has_data:
            return self._append_streams(payload, contents, capacity)
        count = 0
        if datagrams.go_first:
            count = datagrams.append(payload, capacity, parts.packet_room)
        before = len(payload)
        count += self._append_streams(payload, contents, capacity)
        datagrams.on_streams_sent(len(payload) - before, waiting=parts.streams.has_data)
        return count + datagrams.append(payload, capacity, parts.packet_room)

    def _append_streams(self, payload: bytearray, contents: list[Content], capacity: int) -> int:
        """STREAM frames, one per stream and turn; how many."""
        streams = self._parts.streams
        count = 0
        while (room := capacity - len(payload)) >= MIN_DATA_ROOM:
            found = streams.next_range(room)
            if found is None:
                break
            stream, offset, length, fin = found
            # What a packet of a run carried fits in one again: no Length field up to the end of the packet.
            length, fin = begin_stream(payload, stream.stream_id, offset, length, room, fin)
            if length:
                payload += stream.block(offset, length)
            streams.on_sent(stream, offset, length, fin)
            contents.append(StreamContent(stream, offset, length or 1, length, fin))
            count += 1
        return count

    def _on_acked(self, frame: Frame) -> None:
        if isinstance(frame, RetireConnectionId):
            self._parts.peer_cids.on_retirement_acked(frame.sequence_number)
        elif isinstance(frame, NewConnectionId):
            self._parts.local_cids.on_issue_acked(frame.sequence_number)
            self._parts.paths.on_issue_acked()
        elif isinstance(frame, AckFrequency):
            self._parts.extensions.ack_frequency.on_acked(frame)

    def _on_lost(self, frame: Frame) -> None:
        """RFC 9000 §13.3: sent again, unless it is about a connection ID that is gone.

        Once for all its copies: each challenge to a new path takes some along, and a peer can ask for many.
        """
        control = self._parts.spaces[_ONE_RTT].control
        if isinstance(frame, NewConnectionId):
            due = self._parts.local_cids.is_due_again(frame.sequence_number)
            if not due or frame in control:
                return
        control.append(frame)


def _max_size(frame: Frame) -> int:
    """Bytes that a frame of `PacketSpace.control` certainly fits in."""
    return NEW_TOKEN_OVERHEAD + len(frame.token) if isinstance(frame, NewToken) else MAX_CONTROL_FRAME
