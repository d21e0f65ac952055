"""Packet numbers on the wire are cut to 1-4 bytes (RFC 9000 §17.1, Appendix A.2 and A.3)."""

from collections.abc import Sequence

from endpoint.wire.varint import VARINT_MAX


def packet_number_length(pn: int, largest_acked: int) -> int:
    """How many bytes (1-4) `pn` needs to be decoded rightly by a peer that acknowledged `largest_acked`.

    `largest_acked` is -1 while nothing was acknowledged.
    """
    # RFC 9000 §17.1: the encoding must span more than twice the distance to what was acknowledged.
    bits = (2 * (pn - largest_acked)).bit_length()
    return min((bits + 7) // 8, 4)


def decode_packet_number(truncated: int, length: int, expected_pn: int) -> int:
    """The packet number closest to `expected_pn` whose low `length` bytes are `truncated`.

    `expected_pn` is the largest packet number received in this space plus one.
    """
    window = 1 << 8 * length
    half_window = window >> 1
    candidate = (expected_pn & ~(window - 1)) | truncated
    if candidate <= expected_pn - half_window and candidate <= VARINT_MAX - window:
        return candidate + window
    if candidate > expected_pn + half_window and candidate >= window:
        return candidate - window
    return candidate


def consecutive(numbers: Sequence[int], skip: list[int]) -> list[tuple[int, int]]:
    """Index ranges (first, last + 1) over which packet numbers go up by one and nothing is skipped."""
    pieces: list[tuple[int, int]] = []
    bad = set(skip)
    first: int | None = None
    for index, number in enumerate(numbers):
        if first is not None and (index in bad or number != numbers[index - 1] + 1):
            pieces.append((first, index))
            first = None
        if first is None and index not in bad:
            first = index
    if first is not None:
        pieces.append((first, len(numbers)))
    return pieces
