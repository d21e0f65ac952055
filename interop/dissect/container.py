"""Capture files, pcap and pcapng, as the frames that are in them, one at a time.

The formats of headers and blocks are dpkt's. Its readers are not used: they give times as floats, know one
interface only, and take a file that is cut short for one that has ended.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import dpkt
from dpkt import pcap, pcapng

_NANO: Final = frozenset((pcap.TCPDUMP_MAGIC_NANO, pcap.PMUDPCT_MAGIC_NANO))
_LITTLE_ENDIAN: Final = frozenset((pcap.PMUDPCT_MAGIC, pcap.PMUDPCT_MAGIC_NANO, pcap.PACPDOM_MAGIC))
# The upper bits of a link type tell about checksums behind the frame.
_LINK_TYPE_BITS: Final = 0x03FFFFFF
_BLOCK_START: Final = 8
_MIN_BLOCK: Final = 12
# No frame and no block comes near: a longer one is a damaged length.
_MAX_SIZE: Final = 1 << 24
_NANOSECONDS: Final = 1_000_000_000
_MICROSECOND: Final = 1000
# if_tsresol: with the top bit set the rest is a power of 2, else of 10; 10^-6 if it is absent.
_DEFAULT_RESOLUTION: Final = 6
_POWER_OF_2: Final = 0x80


class CaptureError(Exception):
    """A capture can't be read, or not to its end. The message names the file and the place."""


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One frame of a link. `number` counts from 1, `time` is in nanoseconds since the clock's beginning."""

    number: int
    time: int
    link_type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    ticks: int  # per second
    offset: int  # seconds


def read_frames(file: Path) -> Iterator[CapturedFrame]:
    """The frames of a capture in either format, as they are read. Raises CaptureError."""
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
            stream.seek(0)
            if magic == pcapng.PCAPNG_BT_SHB.to_bytes(4, "big"):
                yield from _read_pcapng(stream, file)
            elif int.from_bytes(magic, "big") in pcap.MAGIC_TO_PKT_HDR:
                yield from _read_pcap(stream, file)
            else:
                raise CaptureError(f"{file}: neither a pcap nor a pcapng file")
    except OSError as error:
        raise CaptureError(f"{file}: {error.strerror or error}") from error


def _read(stream: BinaryIO, size: int, what: str, file: Path) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise CaptureError(f"{file}: cut short in {what}: {len(data)} bytes are left of {size}")
    return data


def _check_whole(captured: int, original: int, number: int, file: Path) -> None:
    if captured < original:
        raise CaptureError(
            f"{file}: frame {number} was captured to {captured} of {original} bytes; "
            "capture without a snapshot length"
        )


def _read_pcap(stream: BinaryIO, file: Path) -> Iterator[CapturedFrame]:
    data = _read(stream, pcap.FileHdr.__hdr_len__, "the file header", file)
    magic = int.from_bytes(data[:4], "big")
    header = pcap.LEFileHdr(data) if magic in _LITTLE_ENDIAN else pcap.FileHdr(data)
    link_type = header.linktype & _LINK_TYPE_BITS
    frame_header = pcap.MAGIC_TO_PKT_HDR[magic]
    unit = 1 if magic in _NANO else _MICROSECOND
    number = 0
    while start := stream.read(frame_header.__hdr_len__):
        number += 1
        if len(start) < frame_header.__hdr_len__:
            raise CaptureError(f"{file}: cut short in the header of frame {number}")
        fields = frame_header(start)
        if fields.caplen > _MAX_SIZE:
            raise CaptureError(f"{file}: damaged: frame {number} would have {fields.caplen} bytes")
        content = _read(stream, fields.caplen, f"frame {number}", file)
        _check_whole(fields.caplen, fields.len, number, file)
        yield CapturedFrame(number, fields.tv_sec * _NANOSECONDS + fields.tv_usec * unit, link_type, content)


def _read_pcapng(stream: BinaryIO, file: Path) -> Iterator[CapturedFrame]:
    number = 0
    order = "<"
    interfaces: list[_Interface] = []
    while start := stream.read(_BLOCK_START):
        position = stream.tell() - len(start)
        start += _read(stream, _BLOCK_START + 4 - len(start), f"the block at byte {position}", file)
        is_section = start[:4] == pcapng.PCAPNG_BT_SHB.to_bytes(4, "big")
        if is_section:
            # The byte order may change with each section, and interfaces are counted anew.
            order = "<" if start[8:] == pcapng.BYTE_ORDER_MAGIC.to_bytes(4, "little") else ">"
            interfaces = []
        kind, size = struct.unpack_from(f"{order}II", start)
        if not _MIN_BLOCK <= size <= _MAX_SIZE or size % 4:
            raise CaptureError(f"{file}: damaged: the block at byte {position} would have {size} bytes")
        block = start + _read(stream, size - len(start), f"the block at byte {position}", file)
        try:
            if kind == pcapng.PCAPNG_BT_IDB:
                interfaces.append(_interface(block, order))
            elif kind in (pcapng.PCAPNG_BT_EPB, pcapng.PCAPNG_BT_PB):
                number += 1
                yield _packet_block(kind, block, order, number, interfaces, file)
        except (dpkt.Error, struct.error, UnicodeDecodeError, IndexError) as error:
            raise CaptureError(f"{file}: damaged block at byte {position}: {error}") from error


def _interface(block: bytes, order: str) -> _Interface:
    little = order == "<"
    fields = (pcapng.InterfaceDescriptionBlockLE if little else pcapng.InterfaceDescriptionBlock)(block)
    resolution, offset = _DEFAULT_RESOLUTION, 0
    for option in fields.opts:
        if option.code == pcapng.PCAPNG_OPT_IF_TSRESOL:
            resolution = option.data[0]
        elif option.code == pcapng.PCAPNG_OPT_IF_TSOFFSET:
            offset = int.from_bytes(option.data, "little" if little else "big", signed=True)
    base = 2 if resolution & _POWER_OF_2 else 10
    return _Interface(fields.linktype, base ** (resolution & ~_POWER_OF_2), offset)


def _packet_block(
    kind: int, block: bytes, order: str, number: int, interfaces: list[_Interface], file: Path
) -> CapturedFrame:
    little = order == "<"
    if kind == pcapng.PCAPNG_BT_EPB:
        fields = (pcapng.EnhancedPacketBlockLE if little else pcapng.EnhancedPacketBlock)(block)
    else:
        fields = (pcapng.PacketBlockLE if little else pcapng.PacketBlock)(block)
    if fields.iface_id >= len(interfaces):
        raise CaptureError(
            f"{file}: frame {number} is of interface {fields.iface_id}, which is not described"
        )
    interface = interfaces[fields.iface_id]
    _check_whole(fields.caplen, fields.pkt_len, number, file)
    ticks = fields.ts_high << 32 | fields.ts_low
    time = interface.offset * _NANOSECONDS + ticks * _NANOSECONDS // interface.ticks
    return CapturedFrame(number, time, interface.link_type, fields.pkt_data)
