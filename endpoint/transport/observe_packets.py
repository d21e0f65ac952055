"""Packets as a tracer is told: what the way in and the way out know of them. Only called with a tracer."""

from collections.abc import Sequence

from endpoint.batch import TAG_LENGTH
from endpoint.crypto.packet_protection import OpenedRun
from endpoint.level import Level
from endpoint.recovery.outcome import AckOutcome
from endpoint.recovery.sent_packets import Content, SentRun
from endpoint.trace import DataRange, PacketInfo, StreamPackets, Tracer
from endpoint.transport.contents import ControlContent, MixedContent, PacketContent
from endpoint.transport.crypto_stream import NO_STREAM
from endpoint.transport.parts import Parts
from endpoint.transport.paths import Path
from endpoint.transport.send_stream import SendStream, StreamContent
from endpoint.transport.spaces import PacketSpace
from endpoint.transport.stream_state import SendState
from endpoint.wire.frame_writer import append_frame
from endpoint.wire.header import (
    KEY_PHASE_BIT,
    LONG_HEADER_FORM,
    PN_LENGTH_MASK,
    LongHeader,
    PacketType,
    parse_long_header,
)
from endpoint.wire.stream_run import StreamRun

_SENDING = (SendState.SEND, SendState.DATA_SENT)
_UNNUMBERED = {PacketType.VERSION_NEGOTIATION: "version_negotiation", PacketType.RETRY: "retry"}


def trace_long(
    parts: Parts,
    level: Level,
    header: LongHeader,
    view: memoryview,
    start: int,
    opened: tuple[int, int],
    now: float,
    *,
    waited: bool,
) -> None:
    """A packet with a long header at `start` was `opened`: its number, and where its frames are."""
    if parts.tracer is None:
        return
    end = header.packet_end
    pn, payload = opened
    number_length = payload - header.pn_offset
    info = PacketInfo(
        level,
        pn,
        number_length,
        end - start,
        payload - start,
        version=header.version,
        dcid=header.dcid,
        scid=header.scid,
        token=header.token,
        path=parts.paths.arrival.id,
    )
    parts.tracer.packet_received(now, info, view[payload : end - TAG_LENGTH], waited=waited)


def trace_short(
    tracer: Tracer,
    parts: Parts,
    view: memoryview,
    start: int,
    end: int,
    opened: tuple[int, int],
    now: float,
    *,
    waited: bool,
) -> None:
    """A packet with a short header at `start` was `opened`: its number, and where its frames are."""
    first_byte = view[start]
    pn, payload = opened
    bit = 1 if first_byte & KEY_PHASE_BIT else 0
    phase = parts.key_phase
    info = PacketInfo(
        Level.ONE_RTT,
        pn,
        (first_byte & PN_LENGTH_MASK) + 1,
        end - start,
        payload - start,
        # Nothing is opened but with the present keys and those before.
        phase.updates if bit == phase.bit else phase.updates - 1,
        path=parts.paths.arrival.id,
    )
    tracer.packet_received(now, info, view[payload : end - TAG_LENGTH], waited=waited)


def trace_slots(
    tracer: Tracer, parts: Parts, opened: OpenedRun, runs: list[StreamRun], others: Sequence[int], now: float
) -> None:
    """The packets of a run that were opened, in the order in which they came."""
    layout, numbers = opened.layout, opened.packet_numbers
    header_size = layout.pn_offset + opened.pn_length
    phase, path = parts.key_phase.updates, parts.paths.arrival.id
    pending = iter(others)
    other = next(pending, None)
    for run in [*runs, None]:
        while other is not None and (run is None or other < run.first):
            info = PacketInfo(
                Level.ONE_RTT, numbers[other], opened.pn_length, layout.size, header_size, phase, path=path
            )
            tracer.packet_received(now, info, layout.plain[other], waited=False)
            other = next(pending, None)
        if run is not None:
            tracer.stream_packets_received(
                now,
                StreamPackets(
                    numbers[run.first : run.first + run.count],
                    opened.pn_length,
                    layout.size,
                    header_size,
                    phase,
                    run.stream_id,
                    run.offset,
                    run.chunk,
                    fin=False,
                    path=path,
                ),
            )


def trace_sent(
    tracer: Tracer,
    parts: Parts,
    space: PacketSpace,
    pn: int,
    header: bytearray,
    payload: bytearray,
    probed: Path | None,
    now: float,
    *,
    mtu_probe: bool,
) -> None:
    """A packet with this header, before its protection, and these frames goes out.

    `probed` is the path that it tries out; None: it goes on the active one.
    """
    path = parts.path.id if probed is None else probed.id
    size = len(header) + len(payload) + TAG_LENGTH
    number_length = (header[0] & PN_LENGTH_MASK) + 1
    if header[0] & LONG_HEADER_FORM:
        # Of a packet on its own; the Length field is right because it was written.
        long = parse_long_header(header, 0, size)
        level = Level.ZERO_RTT if space.level is Level.ONE_RTT else space.level
        info = PacketInfo(
            level,
            pn,
            number_length,
            size,
            len(header),
            version=long.version,
            dcid=long.dcid,
            scid=long.scid,
            token=long.token,
            path=path,
        )
    else:
        phase = parts.key_phase.updates
        info = PacketInfo(Level.ONE_RTT, pn, number_length, size, len(header), phase, path=path)
    tracer.packet_sent(now, info, payload, pto=space.probes > 0 and probed is None, mtu_probe=mtu_probe)


def trace_unnumbered(tracer: Tracer | None, header: LongHeader, start: int, now: float) -> None:
    """A Version Negotiation or Retry packet was accepted."""
    if tracer is None:
        return
    assert header.type is not None
    data: dict[str, object] = {
        "packet_type": _UNNUMBERED[header.type],
        "version": header.version.to_bytes(4, "big"),
        "scil": len(header.scid),
        "dcil": len(header.dcid),
        "scid": header.scid,
        "dcid": header.dcid,
    }
    if header.token:
        data["token"] = {"type": "retry", "raw": {"length": len(header.token), "data": header.token}}
    event: dict[str, object] = {"header": data, "raw": {"length": header.packet_end - start}}
    if header.supported_versions:
        event["supported_versions"] = [version.to_bytes(4, "big") for version in header.supported_versions]
    tracer.event(now, "packet_received", event)


def trace_stateless_reset(tracer: Tracer, size: int, token: bytes, now: float) -> None:
    """A datagram turned out to be a stateless reset."""
    data = {
        "header": {"packet_type": "stateless_reset"},
        "stateless_reset_token": token,
        "raw": {"length": size},
    }
    tracer.event(now, "packet_received", data)


def trace_acked(tracer: Tracer, level: Level, outcome: AckOutcome, now: float) -> None:
    """An ACK was processed. What was declared lost before and has arrived after all counts, too."""
    for run in (*outcome.spurious, *outcome.acked):
        tracer.packets_acked(now, level, run.first, run.last, run.path)


def trace_lost(tracer: Tracer, parts: Parts, level: Level, lost: list[SentRun]) -> None:
    """Packets were declared lost (RFC 9002 §6.1)."""
    recovery = parts.recovery
    overtaken = recovery.sent_packets[level].largest_acked - recovery.packet_threshold
    for run in lost:
        if not run.in_flight:
            # RFC 9002 §2: with nothing but ACKs and padding it does not count.
            continue
        assert run.lost_at is not None
        trigger = "reordering_threshold" if run.last <= overtaken else "time_threshold"
        tracer.packets_lost(
            run.lost_at, level, run.first, run.last, run.path, trigger, mtu_probe=run.mtu_probe
        )


def trace_retransmission(tracer: Tracer, level: Level, lost: list[SentRun]) -> None:
    """Those losses were dealt with: what goes again now (RFC 9000 §13.3)."""
    frames = bytearray()
    data: list[DataRange] = []
    for run in lost:
        for content in _contents(run):
            if isinstance(content, ControlContent):
                append_frame(frames, content.frame)
            elif isinstance(content, StreamContent):
                data += _again(content.stream, content.offset, content.length, content.fin)
            elif isinstance(content, MixedContent):
                data += [found for span in content.spans for found in _again(*span)]
    if data or frames:
        assert lost[0].lost_at is not None
        tracer.marked_for_retransmit(lost[0].lost_at, level, data, frames)


def _contents(run: SentRun) -> Sequence[Content | None]:
    return run.content.items if isinstance(run.content, PacketContent) else [run.content]


def _again(stream: SendStream, offset: int, length: int, fin: bool) -> list[DataRange]:
    """What goes again of it: nothing if a copy has arrived, nor after a reset."""
    if stream.state not in _SENDING or not (stream.has_lost or (fin and stream.has_pending)):
        return []
    return [DataRange(None if stream.stream_id == NO_STREAM else stream.stream_id, offset, length, fin)]
