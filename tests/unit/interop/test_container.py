"""Capture files in both formats, of every link that is read, whole and damaged."""

import struct
from pathlib import Path

import pytest
from dpkt import pcapng

from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS, Datagram
from interop.dissect.container import CapturedFrame, CaptureError, read_frames
from interop.dissect.link import udp_datagram
from interop.simnet import packets

RAW, ETHERNET = 101, 1
SENT = Datagram(b"content", CLIENT_ADDRESS, SERVER_ADDRESS, ecn=2)
SENT_6 = Datagram(b"content", ("2001:db8::1", 5), ("2001:db8::2", 443), ecn=1)
IPV4, IPV6 = packets.encode(SENT), packets.encode(SENT_6)


def pcap(*contents: bytes, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, RAW)
    for content in contents:
        data += struct.pack(f"{order}IIII", 7, 5, len(content), len(content)) + content
    return data


def block(kind: int, body: bytes, order: str) -> bytes:
    size = 12 + len(body)
    return struct.pack(f"{order}II", kind, size) + body + struct.pack(f"{order}I", size)


def section(order: str) -> bytes:
    return block(pcapng.PCAPNG_BT_SHB, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order: str, link: int = RAW, resolution: int | None = None) -> bytes:
    options = b"" if resolution is None else struct.pack(f"{order}HHB3xHH", 9, 1, resolution, 0, 0)
    return block(pcapng.PCAPNG_BT_IDB, struct.pack(f"{order}HHI", link, 0, 0) + options, order)


def packet(order: str, content: bytes, ticks: int, number: int = 0, original: int | None = None) -> bytes:
    sizes = (len(content), len(content) if original is None else original)
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, *sizes)
    return block(pcapng.PCAPNG_BT_EPB, head + content + bytes(-len(content) % 4), order)


def read(tmp_path: Path, data: bytes) -> list[CapturedFrame]:
    file = tmp_path / "file.pcap"
    file.write_bytes(data)
    return list(read_frames(file))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap(tmp_path: Path, order: str, magic: int, unit: int) -> None:
    frames = read(tmp_path, pcap(IPV4, IPV6, order=order, magic=magic))
    assert frames == [
        CapturedFrame(1, 7_000_000_000 + 5 * unit, RAW, IPV4),
        CapturedFrame(2, 7_000_000_000 + 5 * unit, RAW, IPV6),
    ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "ticks", "time"),
    [
        (None, 1_500_000_123_456_789, 1_500_000_123_456_789_000),
        (9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (3, 1500, 1_500_000_000),
        (0x80 | 10, 1536, 1_500_000_000),
    ],
)
def test_pcapng_times(tmp_path: Path, order: str, resolution: int | None, ticks: int, time: int) -> None:
    """To the nanosecond, which a float could not hold."""
    data = section(order) + interface(order, resolution=resolution) + packet(order, IPV4, ticks)
    assert read(tmp_path, data) == [CapturedFrame(1, time, RAW, IPV4)]


def test_interfaces_and_sections(tmp_path: Path) -> None:
    """Each packet has the link and resolution of its interface, each section its byte order."""
    ethernet = bytes(12) + b"\x08\x00" + IPV4
    unknown = block(0x0BAD, b"skip", "<")
    data = section("<") + interface("<") + interface("<", ETHERNET, 9) + unknown
    data += packet("<", IPV4, 1) + packet("<", ethernet, 2, number=1)
    data += section(">") + interface(">", ETHERNET, 9) + packet(">", ethernet, 3)
    frames = read(tmp_path, data)
    assert [(frame.number, frame.time, frame.link_type) for frame in frames] == [
        (1, 1000, RAW),
        (2, 2, ETHERNET),
        (3, 3, ETHERNET),
    ]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "neither a pcap nor a pcapng"),
        (b"GIF89a" + bytes(50), "neither a pcap nor a pcapng"),
        (pcap()[:20], "cut short in the file header"),
        (pcap(IPV4)[:30], "cut short in the header of frame 1"),
        (pcap(IPV4, IPV4)[:-1], "cut short in frame 2"),
        (pcap() + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30), "frame 1 would have"),
        (pcap() + struct.pack("<IIII", 0, 0, 2, 60) + b"ab", "frame 1 was captured to 2 of 60 bytes"),
        (section("<") + interface("<") + packet("<", IPV4, 0)[:-1], "cut short in the block at byte 48"),
        (section("<")[:9], "cut short in the block at byte 0"),
        (section("<") + struct.pack("<IIi", 6, 13, 0), "the block at byte 28 would have 13"),
        (section("<") + packet("<", IPV4, 0), "is of interface 0, which is not described"),
        (section("<") + interface("<") + packet("<", b"ab", 0, original=60), "captured to 2 of 60"),
        (section("<") + interface("<")[:-4] + b"\1\1\1\1", "damaged block at byte 28"),
    ],
)
def test_damaged(tmp_path: Path, data: bytes, text: str) -> None:
    with pytest.raises(CaptureError, match=text) as error:
        read(tmp_path, data)
    assert "file.pcap" in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file"):
        list(read_frames(tmp_path / "none"))


@pytest.mark.parametrize(
    ("link_type", "header", "with_kind"),
    [
        (RAW, b"", False),
        (228, b"", False),
        (ETHERNET, bytes(12), True),
        (ETHERNET, bytes(12) + b"\x81\x00\x00\x05", True),
        (113, bytes(14), True),
        (0, b"\2\0\0\0", False),
    ],
)
@pytest.mark.parametrize(("kind", "ip", "sent"), [(b"\x08\x00", IPV4, SENT), (b"\x86\xdd", IPV6, SENT_6)])
def test_links(
    link_type: int, header: bytes, with_kind: bool, kind: bytes, ip: bytes, sent: Datagram
) -> None:
    data = header + (kind if with_kind else b"") + ip
    assert udp_datagram(CapturedFrame(1, 0, link_type, data)) == (sent, True)


def test_linux_cooked_2() -> None:
    assert udp_datagram(CapturedFrame(1, 0, 276, b"\x08\x00" + bytes(18) + IPV4)) == (SENT, True)


def test_what_is_no_udp() -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    assert udp_datagram(CapturedFrame(1, 0, ETHERNET, arp)) is None
    assert udp_datagram(CapturedFrame(1, 0, RAW, b"")) is None
    with pytest.raises(CaptureError, match="frame 9: link type 105 is not read"):
        udp_datagram(CapturedFrame(9, 0, 105, IPV4))


def test_checksums() -> None:
    """IPv4 may go without one, IPv6 may not."""
    without_4 = IPV4[:26] + b"\0\0" + IPV4[28:]
    without_6 = IPV6[:46] + b"\0\0" + IPV6[48:]
    wrong = IPV4[:-1] + b"x"
    right = []
    for content in (without_4, without_6, wrong):
        found = udp_datagram(CapturedFrame(1, 0, RAW, content))
        assert found is not None
        right.append(found[1])
    assert right == [True, False, False]
