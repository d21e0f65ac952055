"""IP and UDP headers of the simulated network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoint.testing.link import Datagram
from interop.simnet.packets import decode, encode

# A datagram as the kernel of a host put it on its TUN device: "hello" to port 443.
FROM_KERNEL = bytes.fromhex("4500002108b74000401149fec1a70064c1a7646497e101bb000d3a4e68656c6c6f")
IPV4 = (("193.167.0.100", 38881), ("193.167.100.100", 443))
IPV6 = (("fd00:cafe:cafe::100", 38881), ("fd00:cafe:cafe:100::100", 443))


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071 word by word; 0xffff over data that includes a correct checksum."""
    total = 0
    for start in range(0, len(data), 2):
        total += int.from_bytes(data[start : start + 2].ljust(2, b"\0"))
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_decodes_what_a_kernel_sends() -> None:
    assert decode(FROM_KERNEL) == Datagram(b"hello", *IPV4, 0)


def test_encodes_as_the_kernel_does() -> None:
    """Identification, TTL and the checksum over them are a router's business."""
    packet = encode(Datagram(b"hello", *IPV4, 0))
    for same in (slice(4), slice(6, 8), slice(12, None)):
        assert packet[same] == FROM_KERNEL[same]


@pytest.mark.parametrize("addresses", [IPV4, IPV6], ids=["IPv4", "IPv6"])
@given(data=st.binary(max_size=1472), ecn=st.integers(0, 3))
def test_round_trip(addresses: tuple[tuple[str, int], tuple[str, int]], data: bytes, ecn: int) -> None:
    datagram = Datagram(data, *addresses, ecn)
    packet = encode(datagram)
    assert decode(packet) == datagram
    if addresses is IPV4:
        assert ones_complement_sum(packet[:20]) == 0xFFFF
        hosts, udp = packet[12:20], packet[20:]
    else:
        hosts, udp = packet[8:40], packet[40:]
    assert ones_complement_sum(hosts + bytes((0, 17)) + len(udp).to_bytes(2) + udp) == 0xFFFF
    assert udp[6:8] != bytes(2), "zero says that there is no checksum"


@given(st.binary(max_size=80), st.sampled_from([0x45, 0x60, 0x4F, 0x40, 0x00]))
def test_anything_else_is_nothing(data: bytes, first: int) -> None:
    decode(bytes((first,)) + data)


@pytest.mark.parametrize(
    ("position", "value"),
    [(9, 6), (6, 0x20), (7, 1), (0, 0x44), (0, 0x55), (3, 0x22), (25, 0x0E), (25, 7)],
    ids=[
        "TCP",
        "more fragments",
        "offset",
        "short header",
        "version 5",
        "too long",
        "UDP too long",
        "too short",
    ],
)
def test_not_a_whole_datagram(position: int, value: int) -> None:
    packet = bytearray(FROM_KERNEL)
    packet[position] = value
    assert decode(bytes(packet)) is None


def test_truncated() -> None:
    whole = encode(Datagram(b"", *IPV6))
    assert decode(whole) is not None
    for packet in (FROM_KERNEL, whole):
        assert [decode(packet[:length]) for length in range(len(packet))] == [None] * len(packet)
