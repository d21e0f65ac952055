"""Sending again what may be lost, before it is known to be (RFC 9002 §6.2.3, §6.2.4)."""

from endpoint.level import Level
from endpoint.recovery.sent_packets import SentRun
from endpoint.transport.observe_packets import trace_lost, trace_retransmission
from endpoint.transport.parts import Parts

_LEVELS = (Level.INITIAL, Level.HANDSHAKE, Level.ONE_RTT)


def probe(parts: Parts, level: Level, count: int) -> None:
    """A PTO expired for `level`: `count` datagrams go out next, whatever the congestion window says.

    They carry what is oldest, at `level` and wherever else something is in flight: during the handshake
    a peer that lacks the Initial can't use what comes after it, and both fit in one datagram
    (RFC 9002 §6.2.4). Where nothing is in flight it is a PING.

    A client whose handshake is complete and not confirmed speaks at 1-RTT too: the server may have dropped
    its Handshake keys, and could not tell from what it can't open that a NAT has given us another address.
    """
    complete = parts.is_client and parts.handshake.complete and not parts.handshake.confirmed
    for other in _LEVELS:
        space = parts.spaces[other]
        in_flight = parts.recovery.sent_packets[other].ack_eliciting_in_flight > 0
        wanted = in_flight or other is level or (complete and other is Level.ONE_RTT)
        if space.write_keys is not None and wanted:
            space.probes = count
            space.acks.on_pto()
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
    if lost and parts.tracer is not None:
        trace_retransmission(parts.tracer, level, lost)
    if not lost or level is Level.ONE_RTT or parts.recovery.sent_packets[level].ack_eliciting_in_flight:
        return
    if _has_content(parts, level):
        parts.spaces[level].probes = max(parts.spaces[level].probes, 1)


def repeat_oldest(parts: Parts, level: Level) -> None:
    """Queue the content of the oldest ack-eliciting packets in flight at `level` once more.

    Those first that were not repeated yet: the copies of the others are among them. What held nothing but
    a PING, or what has arrived in another packet, is passed over.
    """
    in_flight = [run for run in parts.recovery.sent_packets[level] if run.ack_eliciting and not run.mtu_probe]
    for run in sorted(in_flight, key=lambda run: run.repeated):
        run.repeated = True
        if run.content is not None:
            run.content.on_lost()
        if _has_content(parts, level):
            return


def _has_content(parts: Parts, level: Level) -> bool:
    """Whether a packet at `level` would have anything to say."""
    space, streams = parts.spaces[level], parts.streams
    if space.crypto.send.has_pending or space.control:
        return True
    return level is Level.ONE_RTT and (streams.has_data or streams.has_control_frames)
