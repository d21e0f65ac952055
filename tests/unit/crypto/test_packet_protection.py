"""What opening refuses, what it leaves alone, and what it counts."""

import pytest

from endpoint.batch import TAG_LENGTH, PacketBuffer
from endpoint.crypto.aead import AES_128_GCM_SHA256, CIPHER_SUITES
from endpoint.crypto.keys import PacketKeys
from endpoint.crypto.packet_protection import open_payload, open_run, seal, seal_run, unprotect_header
from endpoint.wire.version import QUIC_V1, VERSIONS

DCID = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08"
PN_OFFSET = 1 + len(DCID)
SIZE = 100


def make_keys(secret: bytes = b"s" * 32) -> PacketKeys:
    return PacketKeys(AES_128_GCM_SHA256, secret, VERSIONS[QUIC_V1])


def sealed_packets(
    packet_numbers: list[int], *, pn_length: int = 2, first_byte: int = 0x40, keys: PacketKeys | None = None
) -> PacketBuffer:
    """Slots of SIZE bytes; the payload of packet `pn` is the byte `pn % 256`, repeated."""
    buffer = PacketBuffer(64 * SIZE)
    keys = make_keys() if keys is None else keys
    for i, pn in enumerate(packet_numbers):
        start = i * SIZE
        write_packet(buffer.view[start : start + SIZE], pn, pn_length, first_byte)
        seal(keys, buffer.view, start, start + PN_OFFSET, pn_length, start + SIZE - TAG_LENGTH, pn)
    return buffer


def write_packet(slot: memoryview, pn: int, pn_length: int, first_byte: int) -> None:
    header = bytes((first_byte | pn_length - 1,)) + DCID + pn.to_bytes(8, "big")[-pn_length:]
    slot[:] = header + bytes((pn % 256,)) * (len(slot) - len(header) - TAG_LENGTH) + bytes(TAG_LENGTH)


def test_seal_run_equals_sealing_each() -> None:
    buffer = PacketBuffer(64 * SIZE)
    for i in range(20):
        write_packet(buffer.view[i * SIZE : (i + 1) * SIZE], 1000 + i, 3, 0x64)
    keys = make_keys()
    seal_run(keys, buffer.layout(SIZE, PN_OFFSET, 3, 20), 1000, 20)
    assert keys.sealed == 20
    assert buffer.data == sealed_packets(list(range(1000, 1020)), pn_length=3, first_byte=0x64).data


@pytest.mark.parametrize("number", list(CIPHER_SUITES))
def test_every_suite_seals_and_opens_runs(number: int) -> None:
    suite = CIPHER_SUITES[number]
    send, receive = (PacketKeys(suite, b"x" * 48, VERSIONS[QUIC_V1]) for _ in range(2))
    buffer = PacketBuffer(64 * SIZE)
    for i in range(5):
        write_packet(buffer.view[i * SIZE : (i + 1) * SIZE], 70 + i, 1, 0x40)
    clear = bytes(buffer.data)
    seal_run(send, buffer.layout(SIZE, PN_OFFSET, 1, 5), 70, 5)
    run = open_run(receive, buffer, SIZE, 5, PN_OFFSET, 70, 0)
    assert run is not None
    assert (run.packet_numbers, run.failed) == (range(70, 75), [])
    assert [bytes(view) for view in run.layout.plain[:5]] == [
        clear[i * SIZE + PN_OFFSET + 1 : (i + 1) * SIZE - TAG_LENGTH] for i in range(5)
    ]


def test_opened_run_tells_shape_and_payloads() -> None:
    buffer = sealed_packets([258, 259, 260, 261], first_byte=0x44)
    run = open_run(make_keys(), buffer, SIZE, 4, PN_OFFSET, 258, 1)
    assert run is not None
    assert (run.n, run.first_byte, run.pn_length, run.failed) == (4, 0x45, 2, [])
    assert run.packet_numbers == range(258, 262)
    assert run.layout is buffer.layout(SIZE, PN_OFFSET, 2, 4)
    assert [view[0] for view in run.layout.plain] == [2, 3, 4, 5]
    assert buffer.data[: PN_OFFSET + 2] == b"\x45" + DCID + b"\x01\x02"


def test_packet_numbers_with_gaps_reordered_and_wrapped() -> None:
    for numbers in ([10, 11, 13, 14], [12, 10, 11], [254, 255, 256, 257], [300, 130, 301]):
        buffer = sealed_packets(numbers, pn_length=1)
        run = open_run(make_keys(), buffer, SIZE, len(numbers), PN_OFFSET, 250 if numbers[0] > 12 else 9, 0)
        assert run is not None
        assert list(run.packet_numbers) == numbers
        assert run.failed == []


def test_spin_bit_may_differ_and_the_last_counts() -> None:
    buffer = sealed_packets([5, 6, 7])
    write_packet(buffer.view[2 * SIZE : 3 * SIZE], 7, 2, 0x60)
    seal(make_keys(), buffer.view, 2 * SIZE, 2 * SIZE + PN_OFFSET, 2, 3 * SIZE - TAG_LENGTH, 7)
    run = open_run(make_keys(), buffer, SIZE, 3, PN_OFFSET, 5, 0)
    assert run is not None
    assert (run.first_byte, run.failed) == (0x61, [])
    assert [buffer.data[i * SIZE] for i in range(3)] == [0x41, 0x41, 0x61]


@pytest.mark.parametrize(
    ("first_byte", "pn_length"),
    [(0x44, 2), (0x48, 2), (0x50, 2), (0x00, 2), (0x40, 3), (0xC0, 2)],
    ids=["key phase", "reserved bit", "other reserved bit", "fixed bit", "pn length", "long header"],
)
@pytest.mark.parametrize("all_of_them", [False, True])
def test_runs_that_must_be_opened_one_by_one(first_byte: int, pn_length: int, all_of_them: bool) -> None:
    keys = make_keys()
    buffer = sealed_packets([5, 6, 7])
    odd = range(3) if all_of_them else [1]
    for i in odd:
        write_packet(buffer.view[i * SIZE : (i + 1) * SIZE], 5 + i, pn_length, first_byte)
        start = i * SIZE
        seal(keys, buffer.view, start, start + PN_OFFSET, pn_length, start + SIZE - TAG_LENGTH, 5 + i)
    before = bytes(buffer.data)
    receive = make_keys()
    run = open_run(receive, buffer, SIZE, 3, PN_OFFSET, 5, 0)
    if all_of_them and pn_length == 3:  # uniform again
        assert run is not None
        return
    assert run is None
    assert buffer.data == before
    assert receive.failed_opens == 0


def test_too_short_or_too_many_for_a_run() -> None:
    buffer = sealed_packets([1, 2, 3])
    before = bytes(buffer.data)
    assert open_run(make_keys(), buffer, PN_OFFSET + 19, 3, PN_OFFSET, 0, 0) is None
    assert open_run(make_keys(), buffer, SIZE, 65, PN_OFFSET, 0, 0) is None
    assert open_run(make_keys(), PacketBuffer(250), SIZE, 3, PN_OFFSET, 0, 0) is None
    assert buffer.data == before


def test_a_bad_packet_spoils_no_neighbour() -> None:
    buffer = sealed_packets([5, 6, 7, 8, 9, 10])
    for i in (0, 3, 5):
        buffer.data[(i + 1) * SIZE - 1] ^= 1
    tags = [bytes(buffer.data[(i + 1) * SIZE - TAG_LENGTH : (i + 1) * SIZE]) for i in range(6)]
    keys = make_keys()
    run = open_run(keys, buffer, SIZE, 6, PN_OFFSET, 5, 0)
    assert run is not None
    assert run.failed == [0, 3, 5]
    assert keys.failed_opens == 3
    assert run.packet_numbers == range(5, 11)
    for i in (1, 2, 4):
        assert run.layout.plain[i] == bytes((5 + i,)) * (SIZE - PN_OFFSET - 2 - TAG_LENGTH)
    # The tags, where a stateless reset token would be, are still there.
    assert [bytes(view[-TAG_LENGTH:]) for view in run.layout.sealed[:6]] == tags


def test_wrong_keys_fail_every_packet() -> None:
    buffer = sealed_packets([5, 6, 7])
    keys = make_keys()
    # Same header protection, other AEAD: a packet of a key phase that was guessed wrongly.
    run = open_run(keys.next_generation(), buffer, SIZE, 3, PN_OFFSET, 5, 0)
    assert run is not None
    assert run.failed == [0, 1, 2]


def test_header_is_part_of_what_is_authenticated() -> None:
    buffer = sealed_packets([5, 6, 7])
    buffer.data[SIZE + 4] ^= 1  # in the DCID
    run = open_run(make_keys(), buffer, SIZE, 3, PN_OFFSET, 5, 0)
    assert run is not None
    assert run.failed == [1]


def test_single_packet_fails_and_is_counted() -> None:
    buffer = sealed_packets([5])
    keys = make_keys()
    buffer.data[50] ^= 1
    assert unprotect_header(keys, buffer.view, 0, PN_OFFSET, SIZE, 5) == (0x41, 5, 2)
    tag = bytes(buffer.data[SIZE - TAG_LENGTH : SIZE])
    assert not open_payload(keys, buffer.view, 0, PN_OFFSET + 2, SIZE, 5)
    assert keys.failed_opens == 1
    assert buffer.data[SIZE - TAG_LENGTH : SIZE] == tag


def test_packet_without_a_sample_is_left_alone() -> None:
    data = memoryview(bytearray(range(40)))
    assert unprotect_header(make_keys(), data, 0, PN_OFFSET, PN_OFFSET + 19, 0) is None
    assert data == bytes(range(40))
    assert unprotect_header(make_keys(), data, 0, PN_OFFSET, PN_OFFSET + 20, 0) is not None


@pytest.mark.parametrize(("pn_length", "payload"), [(1, 3), (2, 2), (4, 0)])
def test_shortest_payload_that_can_be_sampled(pn_length: int, payload: int) -> None:
    # RFC 9001 §5.4.2: packet number and payload are together at least 4 bytes.
    end = PN_OFFSET + pn_length + payload
    data = memoryview(bytearray(end + TAG_LENGTH))
    data[0] = 0x40 | pn_length - 1
    seal(make_keys(), data, 0, PN_OFFSET, pn_length, end, 0)
    assert unprotect_header(make_keys(), data, 0, PN_OFFSET, len(data), 0) == (
        0x40 | pn_length - 1,
        0,
        pn_length,
    )
    assert open_payload(make_keys(), data, 0, PN_OFFSET + pn_length, len(data), 0)
    if payload:
        with pytest.raises(ValueError, match="padding"):
            seal(make_keys(), data, 0, PN_OFFSET, pn_length, end - 1, 0)


def test_key_update_chain_keeps_header_protection_and_restarts_counts() -> None:
    keys = make_keys()
    keys.sealed = 9
    keys.failed_opens = 2
    updated = keys.next_generation()
    assert updated.header_protection is keys.header_protection
    assert (updated.sealed, updated.failed_opens) == (0, 0)
    assert len({keys.iv, updated.iv, updated.next_generation().iv}) == 3
