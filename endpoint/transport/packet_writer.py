"""One packet by itself onto the wire: number, header, protection (RFC 9000 §17, RFC 9001 §5)."""

from endpoint.batch import TAG_LENGTH, PacketBuffer
from endpoint.crypto.keys import PacketKeys
from endpoint.crypto.packet_protection import seal_packet, seal_run
from endpoint.errors import TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.recovery.sent_packets import Content
from endpoint.transport.observe_packets import trace_sent
from endpoint.transport.parts import Parts
from endpoint.transport.paths import Path
from endpoint.transport.spaces import PacketSpace
from endpoint.wire.header import PacketType, append_long_header, append_short_header, finish_long_header
from endpoint.wire.packet_number import packet_number_length
from endpoint.wire.version import VERSIONS

# Two bytes at least: all packets of a run have one length, and 1-byte numbers would soon be two.
MIN_PN_LENGTH = 2
# How far a packet number may be above what was acknowledged to fit: half of what two bytes tell apart.
MAX_MIN_PN_DISTANCE = (1 << 15) - 1
# RFC 9001 §5.4.2: there has to be enough to sample, whatever the length of the packet number.
MIN_PAYLOAD = 4
# Packets that the keys must still be good for when they are used up: what closing takes, which answers
# ever less often (RFC 9000 §10.2.1).
CLOSE_RESERVE = 64

_PACKET_TYPES = {Level.INITIAL: PacketType.INITIAL, Level.HANDSHAKE: PacketType.HANDSHAKE}
_INITIAL, _ONE_RTT = Level.INITIAL, Level.ONE_RTT  # see `recv_stream`: found faster


class Packet:
    """A packet that is filled and not yet written."""

    __slots__ = ("contents", "eliciting", "header_room", "payload", "pn_length", "space")

    def __init__(self, space: PacketSpace, pn_length: int, header_room: int) -> None:
        self.space = space
        self.pn_length = pn_length
        self.header_room = header_room
        self.payload = bytearray()
        self.contents: list[Content] = []
        self.eliciting = False

    @property
    def size(self) -> int:
        """Bytes that it takes in its datagram."""
        return self.header_room + len(self.payload) + TAG_LENGTH


class PacketWriter:
    """Writes packets of all types but the runs of `Transmitter`."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def pn_length(self, space: PacketSpace, pn: int) -> int:
        """Bytes that a packet number of up to `pn` takes in `space` now (RFC 9000 §17.1)."""
        largest_acked = self._parts.recovery.sent_packets[space.level].largest_acked
        if pn - largest_acked <= MAX_MIN_PN_DISTANCE:
            return MIN_PN_LENGTH
        return packet_number_length(pn, largest_acked)

    def header_room(self, space: PacketSpace, pn_length: int) -> int:
        """Bytes before the payload of the next packet in `space`, whose number takes `pn_length`."""
        parts = self._parts
        dcid = len(parts.peer_cids.current)
        if space.level is _ONE_RTT and (parts.handshake.confirmed or not parts.sends_early_data):
            return 1 + dcid + pn_length
        room = 1 + 4 + 1 + dcid + 1 + parts.local_cids.length + 2 + pn_length
        if space.level is _INITIAL:
            token = len(parts.token)
            room += token + (1 if token < 64 else 2)
        return room

    def write(
        self,
        space: PacketSpace,
        pn_length: int,
        payload: bytearray,
        buffer: PacketBuffer,
        start: int,
        now: float,
        path: Path | None = None,
        *,
        mtu_probe: bool = False,
    ) -> tuple[int, int]:
        """Put header, payload and tag at `start`: where the packet ends, and its number.

        It goes on the active path unless told. `mtu_probe` is for the tracer.
        """
        parts = self._parts
        one_rtt = space.level is _ONE_RTT
        early = one_rtt and not parts.handshake.confirmed and parts.sends_early_data
        keys = parts.handshake.early_keys if early else space.write_keys
        assert keys is not None
        if parts.closer is None:
            check_confidentiality_limit(keys, 1)
        pn = space.next_pn
        space.next_pn += 1
        header = bytearray()
        dcid = parts.peer_cids.current if path is None else parts.paths.cid(path)
        assert dcid is not None, "no path without one is sent on"
        if one_rtt and not early:
            fixed_bit = parts.extensions.quic_bit.next()
            append_short_header(
                header, dcid, pn, pn_length, key_phase=parts.key_phase.bit, spin=0, fixed_bit=fixed_bit
            )
        else:
            packet_type = PacketType.ZERO_RTT if early else _PACKET_TYPES[space.level]
            version = VERSIONS[parts.original_version] if early else parts.version
            scid = parts.local_cids.initial
            length_offset = append_long_header(
                header, version, packet_type, dcid, scid, parts.token, pn, pn_length
            )
            finish_long_header(header, length_offset, len(header) + len(payload) + TAG_LENGTH)
        if parts.tracer is not None:
            trace_sent(parts.tracer, parts, space, pn, header, payload, path, now, mtu_probe=mtu_probe)
        return seal_packet(keys, header, payload, pn_length, pn, buffer.view, start), pn

    def write_run(
        self,
        space: PacketSpace,
        pn_length: int,
        payloads: list[bytearray],
        buffer: PacketBuffer,
        slot: int,
        size: int,
        now: float,
    ) -> int:
        """Put 1-RTT packets of `size` bytes in the slots from `slot` on; returns the first number.

        The payloads are as long as that asks; the packets go on the active path.
        """
        parts, n = self._parts, len(payloads)
        keys, first_pn, dcid = space.write_keys, space.next_pn, parts.peer_cids.current
        assert keys is not None
        check_confidentiality_limit(keys, n)
        space.next_pn += n
        fixed_bit = parts.extensions.quic_bit.next()
        layout = buffer.layout(size, 1 + len(dcid), pn_length, slot + n)
        for i, payload in enumerate(payloads):
            header = bytearray()
            append_short_header(
                header,
                dcid,
                first_pn + i,
                pn_length,
                key_phase=parts.key_phase.bit,
                spin=0,
                fixed_bit=fixed_bit,
            )
            if parts.tracer is not None:
                trace_sent(
                    parts.tracer, parts, space, first_pn + i, header, payload, None, now, mtu_probe=False
                )
            layout.headers[slot + i][:] = header
            layout.plain[slot + i][:] = payload
        seal_run(keys, layout, first_pn, n, slot)
        return first_pn


def check_confidentiality_limit(keys: PacketKeys, n: int) -> None:
    """RFC 9001 §6.6: never seal more packets than the AEAD is good for."""
    if keys.sealed + n > keys.suite.confidentiality_limit - CLOSE_RESERVE:
        raise TransportError(TransportErrorCode.AEAD_LIMIT_REACHED, "the keys are used up")
