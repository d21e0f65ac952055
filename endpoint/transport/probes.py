"""Sending again what may be lost, before it is known to be (RFC 9002 §6.2.3, §6.2.4)."""

from endpoint.level import Level
from endpoint.recovery.sent_packets import SentRun
from endpoint.transport.observe_packets import trace_lost
from endpoint.transport.parts import Parts

_LEVELS = (Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT)


def probe(parts: Parts, level: Level, count: int) -> None:
    """A PTO expired for `level`: `count` datagrams go out next, whatever the congestion window says.

    They carry what is oldest, at `level` and wherever else something is in flight: during the handshake
    a peer that lacks the Initial can't use what comes after it, and both fit in one datagram
    (RFC 9002 §6.2.4). Where nothing is in flight it is a PING.
    """
    for other in _LEVELS:
        space = parts.spaces[other]
        in_flight = parts.recovery.sent_packets[other].ack_eliciting_in_flight > 0
        if space.write_keys is not None and (in_flight or other is level):
            space.probes = count
            repeat_oldest(parts, other)


def on_lost(parts: Parts, level: Level, lost: list[SentRun]) -> None:
    """Packets of `level` were declared lost: what they carried is to be sent again.

    A handshake packet goes out whatever the congestion window says if nothing else of its space is in
    flight: it is what everything waits for, and no PTO would ever ask for it (RFC 9002 §6.2.1).
    """
    if lost and parts.tracer is not None:
        trace_lost(parts.tracer, parts, level, lost)
    for run in lost:
        if run.content is not None:
            run.content.on_lost()
    if lost and level is not Level.ONE_RTT and not parts.recovery.sent_packets[level].ack_eliciting_in_flight:
        parts.spaces[level].probes = max(parts.spaces[level].probes, 1)


def repeat_oldest(parts: Parts, level: Level) -> None:
    """Queue the content of the oldest ack-eliciting packets in flight at `level` once more.

    Those first that were not repeated yet: the copies of the others are among them.
    """
    oldest: SentRun | None = None
    for run in parts.recovery.sent_packets[level]:
        if run.ack_eliciting and not run.mtu_probe:
            if not run.repeated:
                oldest = run
                break
            oldest = oldest or run
    if oldest is not None:
        oldest.repeated = True
        if oldest.content is not None:
            oldest.content.on_lost()
