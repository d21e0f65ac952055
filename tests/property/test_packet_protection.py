"""A run is sealed and opened exactly as its packets would be one by one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.batch import TAG_LENGTH, PacketBuffer
from endpoint.crypto.aead import CIPHER_SUITES, CipherSuite
from endpoint.crypto.keys import PacketKeys
from endpoint.crypto.packet_protection import open_payload, open_run, seal, seal_run, unprotect_header
from endpoint.wire.version import QUIC_V2, VERSIONS

SECRET = b"one secret for both directions!!"
suites = st.sampled_from(sorted(CIPHER_SUITES.values(), key=lambda suite: suite.number))


def make_keys(suite: CipherSuite) -> PacketKeys:
    return PacketKeys(suite, SECRET, VERSIONS[QUIC_V2])


def write_packet(slot: memoryview, first_byte: int, pn: int, pn_length: int, pn_offset: int) -> None:
    """Header with a DCID of 0x55 bytes, and a payload that differs by packet number and position."""
    slot[0] = first_byte | pn_length - 1
    slot[1:pn_offset] = b"\x55" * (pn_offset - 1)
    slot[pn_offset : pn_offset + pn_length] = pn.to_bytes(8, "big")[8 - pn_length :]
    for i in range(pn_offset + pn_length, len(slot) - TAG_LENGTH):
        slot[i] = (pn * 7 + i) & 0xFF


def open_one_by_one(
    keys: PacketKeys, buffer: PacketBuffer, size: int, n: int, pn_offset: int, expected_pn: int
) -> list[tuple[int, bytes | None]]:
    """(packet number, payload or None) of each."""
    result: list[tuple[int, bytes | None]] = []
    for start in range(0, n * size, size):
        end = start + size
        header = unprotect_header(keys, buffer.view, start, start + pn_offset, end, expected_pn)
        assert header is not None
        _, pn, pn_length = header
        payload = start + pn_offset + pn_length
        opened = open_payload(keys, buffer.view, start, payload, end, pn)
        result.append((pn, bytes(buffer.data[payload : end - TAG_LENGTH]) if opened else None))
    return result


@given(
    suite=suites,
    n=st.integers(1, 64),
    dcid_length=st.integers(0, 20),
    pn_length=st.integers(1, 4),
    payload_length=st.integers(4, 40),
    first_pn=st.integers(0, (1 << 62) - 65),
    first_byte=st.sampled_from([0x40, 0x44, 0x60, 0x64]),
)
@settings(max_examples=120, deadline=None)
def test_seal_run_equals_seal(
    suite: CipherSuite,
    n: int,
    dcid_length: int,
    pn_length: int,
    payload_length: int,
    first_pn: int,
    first_byte: int,
) -> None:
    pn_offset = 1 + dcid_length
    size = pn_offset + pn_length + payload_length + TAG_LENGTH
    run, single = PacketBuffer(n * size), PacketBuffer(n * size)
    for i in range(n):
        for buffer in (run, single):
            slot = buffer.view[i * size : (i + 1) * size]
            write_packet(slot, first_byte, first_pn + i, pn_length, pn_offset)
        start, end = i * size, (i + 1) * size
        keys = make_keys(suite)
        seal(keys, single.view, start, start + pn_offset, pn_length, end - TAG_LENGTH, first_pn + i)
    seal_run(make_keys(suite), run.layout(size, pn_offset, pn_length, n), first_pn, n)
    assert run.data == single.data


@given(data=st.data(), suite=suites)
@settings(max_examples=150, deadline=None)
def test_open_run_equals_opening_each(data: st.DataObject, suite: CipherSuite) -> None:
    n = data.draw(st.integers(1, 24), "n")
    dcid_length = data.draw(st.sampled_from([0, 4, 8, 20]), "dcid_length")
    pn_length = data.draw(st.integers(1, 4), "pn_length")
    expected_pn = data.draw(st.integers(0, 1 << 34), "expected_pn")
    # What a sender may send: numbers less than half a window from what is expected, in any order.
    reach = min(1 << 8 * pn_length - 1, 200) - 1
    lowest = max(0, expected_pn - reach)
    if data.draw(st.booleans(), "consecutive"):
        first = data.draw(st.integers(lowest, max(lowest, expected_pn + reach - n)), "first")
        numbers = list(range(first, first + n))
    else:
        numbers = data.draw(st.lists(st.integers(lowest, expected_pn + reach), min_size=n, max_size=n))
    pn_offset = 1 + dcid_length
    size = pn_offset + pn_length + 9 + TAG_LENGTH
    key_phase = data.draw(st.integers(0, 1), "key_phase")
    spins = data.draw(st.lists(st.sampled_from([0, 0x20]), min_size=n, max_size=n), "spins")
    damaged = data.draw(st.sets(st.integers(0, n * size - 1), max_size=3), "damaged")

    received, copy = PacketBuffer(n * size), PacketBuffer(n * size)
    keys = make_keys(suite)
    for i, pn in enumerate(numbers):
        start, end = i * size, (i + 1) * size
        first_byte = 0x40 | key_phase << 2 | spins[i]
        write_packet(received.view[start:end], first_byte, pn, pn_length, pn_offset)
        seal(keys, received.view, start, start + pn_offset, pn_length, end - TAG_LENGTH, pn)
    for position in damaged:
        received.data[position] ^= 0x41
    arrived = bytes(received.data)
    copy.data[:] = arrived

    run_keys, single_keys = make_keys(suite), make_keys(suite)
    run = open_run(run_keys, received, size, n, pn_offset, expected_pn, key_phase)
    if run is None:
        assert damaged  # nothing else keeps these packets from being a run
        assert received.data == arrived
        return
    singly = open_one_by_one(single_keys, copy, size, n, pn_offset, expected_pn)
    assert list(run.packet_numbers) == [pn for pn, _ in singly]
    assert run.failed == [i for i, (_, payload) in enumerate(singly) if payload is None]
    for i, (_, payload) in enumerate(singly):
        if payload is not None:
            assert run.layout.plain[i] == payload
            assert received.data[i * size : (i + 1) * size] == copy.data[i * size : (i + 1) * size]
    assert run_keys.failed_opens == single_keys.failed_opens


@given(noise=st.binary(min_size=1, max_size=400), size=st.integers(1, 80), pn_offset=st.integers(1, 21))
@settings(deadline=None)
def test_noise_opens_to_nothing_and_raises_nothing(noise: bytes, size: int, pn_offset: int) -> None:
    keys = make_keys(CIPHER_SUITES[0x1301])
    buffer = PacketBuffer(max(len(noise), size))
    buffer.view[: len(noise)] = noise
    n = max(1, len(noise) // size)
    run = open_run(keys, buffer, size, n, pn_offset, 0, 0)
    if run is not None:
        assert run.failed == list(range(n))
    header = unprotect_header(keys, buffer.view, 0, pn_offset, size, 0)
    assert header is None or not open_payload(keys, buffer.view, 0, pn_offset + header[2], size, header[1])
