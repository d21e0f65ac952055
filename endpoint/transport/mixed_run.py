"""Full packets of short streams, one behind the other: what a run is for one long stream.

Many small messages at once are the other common load. They are laid out for the whole batch before a packet
is sealed, so that a stream costs one turn, whatever packets it falls into, and a packet next to nothing.

`pack` is a hot loop: it counts, cuts and writes by itself what other packets ask the parts for.
"""

from endpoint.transport.contents import MixedContent, Span
from endpoint.transport.packet_filler import MIN_DATA_ROOM
from endpoint.transport.sending_streams import SendingStreams
from endpoint.wire.frame_writer import begin_stream


def pack(
    streams: SendingStreams, room: int, most: int, longest: int
) -> tuple[list[bytearray], MixedContent] | None:
    """Payloads of up to `most` packets with what is to be sent next, and their content; None without any.

    Each payload has `room` bytes, only the last may have fewer. Ends before a stream with more than
    `longest` bytes to send: that is better sent as a run of its own.
    """
    payloads: list[bytearray] = []
    spans: list[Span] = []
    cuts: list[tuple[int, int]] = []
    payload = bytearray()
    left = room
    while len(payloads) < most:
        found = streams.next_range(room * most)
        if found is None or found[2] > longest:
            break
        send, offset, length, fin = found
        stream_id, done = send.stream_id, 0
        data = send.block(offset, length) if length else b""
        while len(payloads) < most:
            count, ended = begin_stream(payload, stream_id, offset + done, length - done, left, fin)
            payload += data if count == length else data[done : done + count]
            done += count
            left = room - len(payload)
            if left < MIN_DATA_ROOM:
                # Packets of one batch have one size.
                payload += bytes(left)
                payloads.append(payload)
                cuts.append((len(spans), done) if done < length else (len(spans) + 1, 0))
                payload = bytearray()
                left = room
            if done == length:
                break
        streams.on_sent(send, offset, done, ended)
        spans.append((send, offset, done, ended))
    if payload:
        payloads.append(payload)
    return (payloads, MixedContent(spans, cuts)) if payloads else None
