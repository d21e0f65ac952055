"""How long a connection lives: idle timeout, keep-alive, closing and draining (RFC 9000 §10)."""

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.events import ConnectionClosed
from endpoint.level import Level
from endpoint.transport.close import CLOSE_PTO_COUNT, Closer, CloseReason, ConnectionState, clip_reason
from endpoint.transport.parts import Parts
from endpoint.transport.timers import Timer
from endpoint.wire.frames import Ping

# RFC 9000 §10.1: the idle timeout is at least three times the PTO.
IDLE_PTO_COUNT = 3
# How often a client speaks up while nothing comes, each time after twice the silence: for some 60 PTO in all.
MAX_PINGS_IN_SILENCE = 6
# See `recv_stream`: names of our own are found faster.
_ONE_RTT = Level.ONE_RTT
_IDLE, _KEEP_ALIVE, _SILENCE = Timer.IDLE, Timer.KEEP_ALIVE, Timer.SILENCE


class Lifetime:
    """Keeps the timers of `parts` and moves its state towards the end."""

    __slots__ = ("_eliciting_since_heard", "_parts", "_pings_in_silence")

    def __init__(self, parts: Parts, now: float) -> None:
        self._parts = parts
        self._eliciting_since_heard = False
        self._pings_in_silence = 0
        parts.timers.set(Timer.HANDSHAKE, now + parts.config.handshake_timeout)
        self.on_heard(now)

    def on_heard(self, now: float) -> None:
        """A packet was received and processed: both the idle timer and the keep-alive begin anew."""
        parts = self._parts
        self._eliciting_since_heard = False
        self._restart_idle(now)
        keep_alive = parts.config.keep_alive
        if keep_alive is not None and parts.handshake.complete:
            parts.timers.set(_KEEP_ALIVE, now + keep_alive)
        if parts.is_client:
            self._watch_for_silence(now)

    def on_eliciting_sent(self, now: float) -> None:
        """RFC 9000 §10.1: the first ack-eliciting packet after a received one restarts the timer too."""
        if not self._eliciting_since_heard:
            self._eliciting_since_heard = True
            self._restart_idle(now)

    def on_timeout(self, now: float) -> None:
        """Do what timers that are due ask for."""
        parts = self._parts
        for timer in parts.timers.expired(now):
            if parts.state is ConnectionState.CLOSED:
                # After a long sleep several are due at once; the first has ended it.
                return
            match timer:
                case Timer.CLOSE:
                    parts.state = ConnectionState.CLOSED
                case Timer.KEEP_ALIVE:
                    parts.spaces[Level.ONE_RTT].control.append(Ping())
                case Timer.SILENCE:
                    parts.spaces[Level.ONE_RTT].control.append(Ping())
                    self._pings_in_silence += 1
                    self._await_data(now)
                case Timer.IDLE:
                    self._end_silently("idle timeout", "idle_timeout")
                case Timer.HANDSHAKE:
                    self._end_silently("the handshake took too long", "handshake_timeout")

    def close(self, error_code: int, reason: str, now: float, *, application: bool) -> None:
        """Close at once on behalf of the application (§10.2)."""
        frame_type = None if application else 0
        self._enter_closing(CloseReason(error_code, frame_type, clip_reason(reason)), now)
        self._parts.events.append(
            ConnectionClosed(error_code, 0, reason, application=application, remote=False)
        )

    def fail(self, error: TransportError, now: float) -> None:
        """The peer broke a rule, or we can't go on: the one boundary where exceptions become a close."""
        self._enter_closing(CloseReason(error.code, error.frame_type, clip_reason(error.reason)), now)
        self._parts.events.append(
            ConnectionClosed(error.code, error.frame_type, error.reason, application=False, remote=False)
        )

    def on_closed_by_peer(self, now: float) -> None:
        """CONNECTION_CLOSE or a stateless reset came: the state is draining already (§10.2.2)."""
        self._arm_end(now)

    def on_path_lost(self) -> None:
        """RFC 9000 §9.3.2: there is no address left at which the peer is known to be."""
        self._end_silently("no path leads to the peer", "no_viable_path")

    def _watch_for_silence(self, now: float) -> None:
        """A client that only receives has nothing to repeat, so a NAT that rebinds may cut it off for good.

        All that is under way to the old address is lost, and the server can't learn the new one before we
        speak (RFC 9000 §9). So when no data comes that we wait for, after some of it or after our request has
        arrived, we say something; and again, less and less often: an answer to that does not mean that the
        NAT has not changed its mind since.
        """
        parts = self._parts
        if not parts.handshake.confirmed:
            return
        acks = parts.spaces[_ONE_RTT].acks
        if acks.ack_eliciting_pending or acks.ack_now:
            self._pings_in_silence = 0
        elif self._pings_in_silence or parts.recovery.sent_packets[_ONE_RTT].ack_eliciting_in_flight:
            # The answer to a ping; or there is something to repeat.
            return
        self._await_data(now)

    def _await_data(self, now: float) -> None:
        parts = self._parts
        count = self._pings_in_silence
        # The answer to a stream, or leave to open another: the peer owes us something.
        owed = len(parts.streams) or not parts.streams.can_open()
        waiting = owed and count < MAX_PINGS_IN_SILENCE
        parts.timers.set(_SILENCE, now + parts.pto * float(1 << count) if waiting else None)

    def _enter_closing(self, reason: CloseReason, now: float) -> None:
        self._parts.state = ConnectionState.CLOSING
        self._parts.closer = Closer(reason)
        self._arm_end(now)

    def _arm_end(self, now: float) -> None:
        timers = self._parts.timers
        if timers.get(Timer.CLOSE) is None:
            timers.clear()
            timers.set(Timer.CLOSE, now + CLOSE_PTO_COUNT * self._parts.pto)

    def _restart_idle(self, now: float) -> None:
        parts = self._parts
        timeout = parts.config.max_idle_timeout if parts.peer_params is None else parts.idle_timeout
        if timeout:
            timeout = max(timeout, IDLE_PTO_COUNT * parts.pto)
        parts.timers.set(_IDLE, now + timeout if timeout else None)

    def _end_silently(self, reason: str, kind: str) -> None:
        """§10.1: the peer has given up too, or can't hear us: there is nothing to say."""
        parts = self._parts
        parts.state = ConnectionState.CLOSED
        parts.timers.clear()
        parts.events.append(
            ConnectionClosed(
                TransportErrorCode.NO_ERROR, 0, reason, application=False, remote=False, kind=kind
            )
        )
