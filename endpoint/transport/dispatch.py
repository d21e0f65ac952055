"""From frames to the parts they concern: the strict row parser's loop, and one handler per frame type."""

from collections.abc import Callable
from itertools import chain

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.events import ConnectionClosed, HandshakeConfirmed, NewTokenReceived, SessionReceived
from endpoint.level import Level
from endpoint.transport.close import ConnectionState
from endpoint.transport.early_data import client_state
from endpoint.transport.observe_packets import trace_acked
from endpoint.transport.observe_recovery import recovery_metrics
from endpoint.transport.parts import Parts
from endpoint.transport.probes import on_lost, repeat_oldest
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.frame_parser import (
    iter_frames,
    parse_ack,
    parse_datagram,
    parse_frame,
    parse_stream,
    read_frame_type,
    require_permitted,
    skip_padding,
)
from endpoint.wire.frames import (
    FRAME_TYPES,
    ONE_BYTE_FRAME_TYPES,
    Ack,
    AckFrequency,
    ConnectionClose,
    Crypto,
    FrameType,
    HandshakeDone,
    ImmediateAck,
    MaxData,
    MaxStreamData,
    MaxStreams,
    NewConnectionId,
    NewToken,
    PathChallenge,
    PathResponse,
    ResetStream,
    RetireConnectionId,
    StopSending,
    StreamDataBlocked,
)

# As plain integers: to ask an enum for a member costs as much as a call (Python 3.11).
_STREAM_FIRST = int(FrameType.STREAM)
_STREAM_LAST = _STREAM_FIRST | 7
_ACKS = (int(FrameType.ACK), int(FrameType.ACK_ECN))
_DATAGRAMS = (int(FrameType.DATAGRAM), int(FrameType.DATAGRAM_LEN))
_PADDING = int(FrameType.PADDING)
_ONE_RTT, _DRAINING = Level.ONE_RTT, ConnectionState.DRAINING
# RFC 9000 §9.1, besides PADDING.
_PROBING = (FrameType.PATH_CHALLENGE, FrameType.PATH_RESPONSE, FrameType.NEW_CONNECTION_ID)
# RFC 9002 §6.2.3 wants it limited: each is an answer of full size to an unvalidated address.
MAX_EARLY_REPEATS = 4


class FrameDispatcher:
    """Reads the frames of one packet and hands each to its part.

    `probing`: the last packet had only frames that may go on any path (RFC 9000 §9.1).
    """

    __slots__ = ("_dcid", "_early_repeats", "_handlers", "_now", "_parts", "_space", "probing")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # What the handlers need to know of the packet; set by `process`.
        self._space: PacketSpace = parts.spaces[Level.INITIAL]
        self._dcid = b""
        self._early_repeats = MAX_EARLY_REPEATS
        self._now = 0.0
        self.probing = True
        streams = parts.streams
        self._handlers: dict[type, Callable[..., None]] = {
            Crypto: self._on_crypto,
            ResetStream: streams.on_reset_stream,
            StopSending: streams.on_stop_sending,
            MaxData: streams.on_max_data,
            MaxStreamData: streams.on_max_stream_data,
            MaxStreams: streams.on_max_streams,
            StreamDataBlocked: streams.on_stream_data_blocked,
            NewToken: self._on_new_token,
            NewConnectionId: parts.peer_cids.on_new,
            RetireConnectionId: self._on_retire,
            PathChallenge: self._on_path_challenge,
            PathResponse: self._on_path_response,
            ConnectionClose: self._on_close,
            HandshakeDone: self._on_handshake_done,
            AckFrequency: parts.extensions.ack_frequency.on_ack_frequency,
            ImmediateAck: self._on_immediate_ack,
        }

    def process(
        self,
        space: PacketSpace,
        buf: memoryview,
        pos: int,
        end: int,
        dcid: bytes,
        now: float,
        level: Level | None = None,
    ) -> bool:
        """Process the frames in `buf[pos:end]`, the payload of a packet; True if it is ack-eliciting.

        `level` is that of the space unless told: 0-RTT packets are in the space of 1-RTT.

        Raises TransportError for whatever is wrong with them (RFC 9000 §12.4).
        """
        if pos >= end:
            raise TransportError(TransportErrorCode.PROTOCOL_VIOLATION, "packet without frames")
        self._space, self._dcid, self._now = space, dcid, now
        if self._parts.state is _DRAINING:
            self._process_draining(buf, pos, end)
            return False
        level = space.level if level is None else level
        permitted = ONE_BYTE_FRAME_TYPES[level]
        streams = self._parts.streams
        ack_eliciting = False
        probing = True
        frame_type = 0
        try:
            while pos < end:
                frame_type = buf[pos]
                pos += 1
                if frame_type not in permitted:
                    frame_type, pos = read_frame_type(buf, pos - 1, end)
                    require_permitted(frame_type, level)
                if _STREAM_FIRST <= frame_type <= _STREAM_LAST:
                    stream_id, offset, start, pos, fin = parse_stream(frame_type, buf, pos, end)
                    streams.on_stream_data(stream_id, offset, bytes(buf[start:pos]), fin)
                    ack_eliciting = True
                    probing = False
                elif frame_type in _ACKS:
                    ack, pos = parse_ack(frame_type, buf, pos, end)
                    self._on_ack(ack)
                    probing = False
                elif frame_type == _PADDING:
                    pos = skip_padding(buf, pos, end)
                elif frame_type in _DATAGRAMS:
                    pos = self._receive_datagram(frame_type, buf, pos, end)
                    ack_eliciting = True
                    probing = False
                else:
                    frame, pos = parse_frame(frame_type, buf, pos, end)
                    handler = self._handlers.get(type(frame))
                    if handler is not None:
                        handler(frame)
                        if isinstance(frame, ConnectionClose):
                            return False
                    # PING and the *_BLOCKED frames ask for nothing but an acknowledgement.
                    ack_eliciting |= FRAME_TYPES[frame_type].ack_eliciting
                    probing = probing and frame_type in _PROBING
        except TransportError as error:
            # RFC 9000 §19.19: the parts that judge a frame needn't know how it is called.
            error.frame_type = error.frame_type or frame_type
            raise
        self.probing = probing
        return ack_eliciting

    def _process_draining(self, buf: memoryview, pos: int, end: int) -> None:
        """After the peer's close nothing counts but the same close at another level (RFC 9000 §10.2.3)."""
        for frame in iter_frames(buf, pos, end, self._space.level):
            if isinstance(frame, ConnectionClose):
                self._on_close(frame)
                return

    def _on_ack(self, ack: Ack) -> None:
        parts, space, now = self._parts, self._space, self._now
        one_rtt = space.level is _ONE_RTT
        if one_rtt:
            parts.key_phase.check_ack(ack.largest_acknowledged)
            parts.extensions.holes.check_ack(ack.ranges)
        exponent = 3 if parts.peer_params is None else parts.peer_params.ack_delay_exponent
        # RFC 9000 §13.2.5: the delay field is meaningful in 1-RTT packets only.
        delay = (ack.ack_delay << exponent) / 1e6 if one_rtt else 0.0
        outcome = parts.recovery.on_ack_received(space.level, ack.ranges, delay, now, space.next_pn, ack.ecn)
        if parts.tracer is not None:
            trace_acked(parts.tracer, space.level, outcome, now)
        for run in chain(outcome.acked, outcome.spurious):
            if run.content is not None:
                run.content.on_acked()
        if outcome.lost:
            on_lost(parts, space.level, outcome.lost)
        if parts.tracer is not None:
            parts.tracer.metrics_updated(now, recovery_metrics(parts.recovery), parts.path.id)
        if one_rtt:
            parts.extensions.ack_frequency.on_ack(now)

    def _on_crypto(self, frame: Crypto) -> None:
        parts, level = self._parts, self._space.level
        advanced = parts.handshake.receive(level, frame.offset, frame.data)
        if advanced and level is Level.ONE_RTT and parts.peer_params is not None:
            state = client_state(parts.version.version, parts.peer_params)
            for session in parts.handshake.take_sessions(state):
                parts.events.append(SessionReceived(session.to_bytes()))
        if not advanced and level is Level.INITIAL and not parts.is_client and self._early_repeats:
            # RFC 9002 §6.2.3: a client that says hello again has not heard our answer.
            self._early_repeats -= 1
            repeat_oldest(parts, Level.INITIAL)
            repeat_oldest(parts, Level.HANDSHAKE)

    def _on_new_token(self, frame: NewToken) -> None:
        if not self._parts.is_client:
            # RFC 9000 §19.7.
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION, "NEW_TOKEN from a client", FrameType.NEW_TOKEN
            )
        self._parts.events.append(NewTokenReceived(frame.token))

    def _on_retire(self, frame: RetireConnectionId) -> None:
        self._parts.local_cids.on_retire(frame, self._dcid)

    def _on_path_challenge(self, frame: PathChallenge) -> None:
        self._parts.paths.on_challenge(frame.data)

    def _on_path_response(self, frame: PathResponse) -> None:
        # RFC 9000 §19.18: an answer to no question of ours MAY be an error; a late one is not.
        parts = self._parts
        moved = parts.paths.on_response(frame.data, self._now)
        if moved is not None and parts.new_token is not None:
            # RFC 9000 §9.3: for the next visit from there.
            token = parts.new_token(moved.peer, parts.version.version)
            parts.spaces[Level.ONE_RTT].control.append(NewToken(token))

    def _receive_datagram(self, frame_type: int, buf: memoryview, pos: int, end: int) -> int:
        """A DATAGRAM frame from after its type; returns the position of the next."""
        start, after = parse_datagram(frame_type, buf, pos, end)
        self._parts.extensions.datagrams.on_frame(bytes(buf[start:after]), 1 + after - pos)
        return after

    def _on_immediate_ack(self, _: ImmediateAck) -> None:
        self._parts.extensions.ack_frequency.on_immediate_ack()

    def _on_handshake_done(self, _: HandshakeDone) -> None:
        parts = self._parts
        if not parts.is_client:
            # RFC 9000 §19.20.
            raise TransportError(
                TransportErrorCode.PROTOCOL_VIOLATION,
                "HANDSHAKE_DONE from a client",
                FrameType.HANDSHAKE_DONE,
            )
        if not parts.handshake.confirmed:
            parts.handshake.confirmed = True
            parts.events.append(HandshakeConfirmed())

    def _on_close(self, frame: ConnectionClose) -> None:
        parts = self._parts
        if parts.state is ConnectionState.DRAINING:
            # RFC 9000 §10.2.3: the same close at another level. Only 1-RTT may tell an application's.
            last = parts.events[-1] if parts.events else None
            if (
                not isinstance(last, ConnectionClosed)
                or last.error_code != TransportErrorCode.APPLICATION_ERROR
            ):
                return
            parts.events.pop()
        parts.state = ConnectionState.DRAINING
        parts.events.append(
            ConnectionClosed(
                error_code=frame.error_code,
                frame_type=frame.frame_type or 0,
                reason=frame.reason,
                application=frame.frame_type is None,
                remote=True,
            )
        )
