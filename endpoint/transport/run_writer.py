"""Runs: full 1-RTT packets with nothing but STREAM frames, of one long stream or of many short ones."""

from endpoint.batch import TAG_LENGTH, PacketBuffer
from endpoint.crypto.packet_protection import seal_run
from endpoint.recovery.sent_packets import Content, SentRun
from endpoint.trace import StreamPackets
from endpoint.transport.mixed_run import pack
from endpoint.transport.packet_writer import MIN_PAYLOAD, PacketWriter, check_confidentiality_limit
from endpoint.transport.parts import Parts
from endpoint.transport.send_stream import SendStream, StreamContent
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.stream_run import stream_run_chunk, write_stream_run

# Below this a run of one stream costs more than its packets one by one.
MIN_RUN = 3


class RunWriter:
    """Writes runs to the slots of a buffer, and tells recovery's half of them."""

    __slots__ = ("_parts", "_writer")

    def __init__(self, parts: Parts, writer: PacketWriter) -> None:
        self._parts = parts
        self._writer = writer

    def write_long(
        self,
        space: PacketSpace,
        buffer: PacketBuffer,
        size: int,
        most: int,
        found: tuple[SendStream, int, int, bool],
        now: float,
    ) -> SentRun | None:
        """Up to `most` packets of `size` bytes with what was `found`; None if that makes no run."""
        parts = self._parts
        stream, offset, length, fin = found
        dcid = parts.peer_cids.current
        first_pn = space.next_pn
        pn_length = self._writer.pn_length(space, first_pn + most)
        chunk = stream_run_chunk(size, len(dcid), pn_length, stream.stream_id, offset + length)
        n = min(length // chunk, most)
        if n < MIN_RUN:
            return None
        keys = space.write_keys
        assert keys is not None
        check_confidentiality_limit(keys, n)
        count = n * chunk
        fin = fin and count == length
        layout = buffer.layout(size, 1 + len(dcid), pn_length, n)
        first_byte = parts.extensions.quic_bit.next() | parts.key_phase.bit << 2 | (pn_length - 1)
        write_stream_run(
            layout,
            n,
            first_byte=first_byte,
            dcid=dcid,
            first_pn=first_pn,
            stream_id=stream.stream_id,
            offset=offset,
            block=stream.block(offset, count),
            fin=fin,
        )
        seal_run(keys, layout, first_pn, n)
        if parts.tracer is not None:
            numbers, phase = range(first_pn, first_pn + n), parts.key_phase.updates
            header_size = 1 + len(dcid) + pn_length
            place = stream.stream_id, offset, chunk, fin
            parts.tracer.stream_packets_sent(
                now, StreamPackets(numbers, pn_length, size, header_size, phase, *place, path=parts.path.id)
            )
        space.next_pn += n
        parts.streams.on_sent(stream, offset, count, fin)
        parts.extensions.datagrams.on_streams_sent(count)
        content = StreamContent(stream, offset, chunk, count, fin)
        return SentRun(first_pn, first_pn + n - 1, now, size, content=content, path=parts.path.id)

    def write_mixed(
        self, space: PacketSpace, buffer: PacketBuffer, size: int, slot: int, most: int, now: float
    ) -> tuple[int, list[SentRun]]:
        """Up to `most` packets of what streams send next, from `slot` on: their bytes, and the runs.

        All but the last have `size` bytes. There are none if what is next is long enough for a run.
        """
        writer, path = self._writer, self._parts.path.id
        pn_length = writer.pn_length(space, space.next_pn + most)
        room = size - writer.header_room(space, pn_length) - TAG_LENGTH
        packed = pack(self._parts.streams, room, most, MIN_RUN * room)
        if packed is None:
            return 0, []
        payloads, content = packed
        last = payloads.pop() if len(payloads[-1]) < room else None
        n = len(payloads)
        runs: list[SentRun] = []
        rest: Content = content
        if n:
            rest = content.split(n)
            first = writer.write_run(space, pn_length, payloads, buffer, slot, size, now)
            runs.append(SentRun(first, first + n - 1, now, size, content=content, path=path))
        if last is None:
            return n * size, runs
        last += bytes(max(0, MIN_PAYLOAD - len(last)))
        start = (slot + n) * size
        end, pn = writer.write(space, pn_length, last, buffer, start, now)
        runs.append(SentRun(pn, pn, now, end - start, content=rest, path=path))
        return end - slot * size, runs
