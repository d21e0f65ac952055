"""The frame table against RFC 9000 §12.4, Table 3, written out anew, and that of the extensions."""

import pytest

from endpoint.level import Level
from endpoint.wire.frames import FRAME_TYPES, ONE_BYTE_FRAME_TYPES, PERMITTED_FRAME_TYPES

# Type, name, packets, special rules as the RFC prints them.
TABLE_3 = [
    (0x00, 0x00, "PADDING", "IH01", "NP"),
    (0x01, 0x01, "PING", "IH01", ""),
    (0x02, 0x03, "ACK", "IH_1", "NC"),
    (0x04, 0x04, "RESET_STREAM", "__01", ""),
    (0x05, 0x05, "STOP_SENDING", "__01", ""),
    (0x06, 0x06, "CRYPTO", "IH_1", ""),
    (0x07, 0x07, "NEW_TOKEN", "___1", ""),
    (0x08, 0x0F, "STREAM", "__01", "F"),
    (0x10, 0x10, "MAX_DATA", "__01", ""),
    (0x11, 0x11, "MAX_STREAM_DATA", "__01", ""),
    (0x12, 0x13, "MAX_STREAMS", "__01", ""),
    (0x14, 0x14, "DATA_BLOCKED", "__01", ""),
    (0x15, 0x15, "STREAM_DATA_BLOCKED", "__01", ""),
    (0x16, 0x17, "STREAMS_BLOCKED", "__01", ""),
    (0x18, 0x18, "NEW_CONNECTION_ID", "__01", "P"),
    (0x19, 0x19, "RETIRE_CONNECTION_ID", "__01", ""),
    (0x1A, 0x1A, "PATH_CHALLENGE", "__01", "P"),
    (0x1B, 0x1B, "PATH_RESPONSE", "___1", "P"),
    (0x1C, 0x1C, "CONNECTION_CLOSE", "IH01", "N"),
    (0x1D, 0x1D, "CONNECTION_CLOSE", "__01", "N"),
    (0x1E, 0x1E, "HANDSHAKE_DONE", "___1", ""),
    (0x1F, 0x1F, "IMMEDIATE_ACK", "___1", ""),
    (0x30, 0x31, "DATAGRAM", "__01", ""),
    (0xAF, 0xAF, "ACK_FREQUENCY", "___1", ""),
]
LETTERS = {"I": Level.INITIAL, "H": Level.HANDSHAKE, "0": Level.ZERO_RTT, "1": Level.ONE_RTT}
ROWS = [
    (frame_type, name, packets, spec)
    for first, last, name, packets, spec in TABLE_3
    for frame_type in range(first, last + 1)
]


def test_table_has_exactly_these_types() -> None:
    assert sorted(FRAME_TYPES) == [frame_type for frame_type, *_ in ROWS]


@pytest.mark.parametrize(("frame_type", "name", "packets", "spec"), ROWS)
def test_row(frame_type: int, name: str, packets: str, spec: str) -> None:
    rules = FRAME_TYPES[frame_type]
    assert rules.name == name
    assert rules.levels == {LETTERS[letter] for letter in packets if letter != "_"}
    assert rules.ack_eliciting == ("N" not in spec)
    assert rules.in_flight == ("C" not in spec)
    assert rules.probing == ("P" in spec)
    for level in Level:
        permitted = level in rules.levels
        assert (frame_type in PERMITTED_FRAME_TYPES[level]) == permitted
        assert (frame_type in ONE_BYTE_FRAME_TYPES[level]) == (permitted and frame_type < 0x40)
