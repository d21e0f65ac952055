"""RFC 9000 §17.1 with the examples of Appendix A.2 and A.3."""

import pytest

from endpoint.wire.packet_number import decode_packet_number, packet_number_length


@pytest.mark.parametrize(
    ("pn", "largest_acked", "length"),
    [
        (0xAC5C02, 0xABE8B3, 2),  # Appendix A.2
        (0xACE8FE, 0xABE8B3, 3),  # Appendix A.2
        (0, -1, 1),
        # 127 outstanding: 2 * 127 = 254 fits a byte; 128 would leave no margin.
        (126, -1, 1),
        (127, -1, 2),
        (1127, 1000, 1),
        (1128, 1000, 2),
        (32_767 + 10, 10, 2),
        (32_768 + 10, 10, 3),
        ((1 << 23) - 1, 0, 3),
        (1 << 23, 0, 4),
        (1 << 40, 0, 4),
    ],
)
def test_length(pn: int, largest_acked: int, length: int) -> None:
    assert packet_number_length(pn, largest_acked) == length


@pytest.mark.parametrize(
    ("truncated", "length", "expected_pn", "pn"),
    [
        (0x9B32, 2, 0xA82F30EA + 1, 0xA82F9B32),  # Appendix A.3
        (0, 1, 0, 0),
        (0xFF, 1, 0, 0xFF),
        # Window of one byte around 0x200: from 0x181 up to 0x280.
        (0x80, 1, 0x200, 0x280),
        (0x81, 1, 0x200, 0x181),
        (0x00, 1, 0x1FF, 0x200),
        (0x00, 1, 0x280, 0x300),
        (0xFF, 1, 0x200, 0x1FF),
        # No packet number is negative.
        (0xFE, 1, 3, 0xFE),
        # Nor has it more than 62 bits.
        (0x00, 1, (1 << 62) - 1, (1 << 62) - 0x100),
    ],
)
def test_decode(truncated: int, length: int, expected_pn: int, pn: int) -> None:
    assert decode_packet_number(truncated, length, expected_pn) == pn
