"""The strict parser: every violation of RFC 9000 §12.4 and §19 with its code and frame type."""

import pytest

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.level import Level
from endpoint.wire.frame_parser import (
    MAX_ACK_RANGES,
    iter_frames,
    parse_ack,
    parse_datagram,
    parse_frame,
    parse_stream,
    read_frame_type,
    skip_padding,
)
from endpoint.wire.frames import (
    FRAME_TYPES,
    Ack,
    AckFrequency,
    ConnectionClose,
    Crypto,
    DataBlocked,
    Datagram,
    Frame,
    HandshakeDone,
    ImmediateAck,
    MaxData,
    MaxStreamData,
    MaxStreams,
    NewConnectionId,
    NewToken,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    RetireConnectionId,
    StopSending,
    Stream,
    StreamDataBlocked,
    StreamsBlocked,
)
from endpoint.wire.varint import VARINT_MAX, encode_varint

ENCODING = TransportErrorCode.FRAME_ENCODING_ERROR
VIOLATION = TransportErrorCode.PROTOCOL_VIOLATION
MAX = encode_varint(VARINT_MAX).hex()
TOKEN = "00112233445566778899aabbccddeeff"

# Every type by hand: hexadecimal, value.
FRAMES: list[tuple[str, Frame]] = [
    ("01", Ping()),
    ("02 0a 05 00 03", Ack(10, 5, [(7, 10)], None)),
    ("02 4064 00 02 00 01 03 10 00", Ack(100, 0, [(100, 100), (94, 97), (76, 76)], None)),
    (
        "02 4400 00 03 00 00 00 4040 01 01 4041",
        Ack(1024, 0, [(1024, 1024), (1022, 1022), (955, 956), (887, 952)], None),
    ),
    ("03 00 00 00 00 01 02 4003", Ack(0, 0, [(0, 0)], (1, 2, 3))),
    ("04 04 4100 09", ResetStream(4, 0x100, 9)),
    ("05 08 07", StopSending(8, 7)),
    ("06 4005 03 616263", Crypto(5, b"abc")),
    ("06 00 00", Crypto(0, b"")),
    ("07 02 7879", NewToken(b"xy")),
    ("08 04 6162", Stream(4, 0, b"ab", False)),
    ("09 04", Stream(4, 0, b"", True)),
    ("0a 04 01 61", Stream(4, 0, b"a", False)),
    ("0b 04 01 61", Stream(4, 0, b"a", True)),
    ("0c 04 44d2 61", Stream(4, 1234, b"a", False)),
    ("0d 04 44d2 61", Stream(4, 1234, b"a", True)),
    ("0e 04 44d2 01 61", Stream(4, 1234, b"a", False)),
    ("0f 04 44d2 00", Stream(4, 1234, b"", True)),
    (f"10 {MAX}", MaxData(VARINT_MAX)),
    ("11 04 05", MaxStreamData(4, 5)),
    ("12 d000000000000000", MaxStreams(1 << 60, False)),
    ("13 05", MaxStreams(5, True)),
    ("14 06", DataBlocked(6)),
    ("15 04 06", StreamDataBlocked(4, 6)),
    ("16 06", StreamsBlocked(6, False)),
    ("17 d000000000000000", StreamsBlocked(1 << 60, True)),
    (f"18 03 03 01 aa {TOKEN}", NewConnectionId(3, 3, b"\xaa", bytes.fromhex(TOKEN))),
    ("19 02", RetireConnectionId(2)),
    ("1a 0102030405060708", PathChallenge(bytes(range(1, 9)))),
    ("1b 0102030405060708", PathResponse(bytes(range(1, 9)))),
    ("1c 0a 08 02 6f6b", ConnectionClose(10, 8, "ok")),
    ("1c 07 4100 02 ff6f", ConnectionClose(7, 0x100, "\ufffdo")),
    ("1d 4100 00", ConnectionClose(0x100, None, "")),
    ("1e", HandshakeDone()),
    ("30 6162", Datagram(b"ab")),
    ("31 02 6162", Datagram(b"ab")),
    ("1f", ImmediateAck()),
    ("40af 03 09 800061a8 04", AckFrequency(3, 9, 25000, 4)),
]
FRAMES_IDS = [encoded for encoded, _ in FRAMES]
# Without a Length field these take what there is, so a cut one is a shorter one.
OPEN_ENDED = {0x08, 0x09, 0x0C, 0x0D, 0x30}


def type_of(encoded: str) -> int:
    data = bytes.fromhex(encoded)
    return read_frame_type(data, 0, len(data))[0]


def frames_of(encoded: str, level: Level = Level.ONE_RTT) -> list[Frame]:
    data = bytes.fromhex(encoded)
    return list(iter_frames(data, 0, len(data), level))


def error_of(encoded: str, level: Level = Level.ONE_RTT) -> tuple[int, int]:
    with pytest.raises(TransportError) as caught:
        frames_of(encoded, level)
    return caught.value.code, caught.value.frame_type


@pytest.mark.parametrize(("encoded", "frame"), FRAMES, ids=FRAMES_IDS)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_frame(encoded: str, frame: Frame, kind: type) -> None:
    data = bytes.fromhex(encoded)
    buf = kind(b"\xff" * 3 + data + b"\xff" * 9)
    assert list(iter_frames(buf, 3, 3 + len(data), Level.ONE_RTT)) == [frame]


def test_every_type_has_an_example() -> None:
    assert {type_of(encoded) for encoded, _ in FRAMES} == set(FRAME_TYPES) - {0}


@pytest.mark.parametrize(("encoded", "_frame"), FRAMES, ids=FRAMES_IDS)
def test_every_truncation_is_a_frame_encoding_error(encoded: str, _frame: Frame) -> None:
    data = bytes.fromhex(encoded)
    frame_type, start = read_frame_type(data, 0, len(data))
    for end in range(start, len(data)):
        if frame_type in OPEN_ENDED:
            continue
        with pytest.raises(TransportError) as caught:
            list(iter_frames(data, 0, end, Level.ONE_RTT))
        assert (caught.value.code, caught.value.frame_type) == (ENCODING, frame_type)


@pytest.mark.parametrize("encoded", ["0c", "0c 04", "0d 04 44", "08", "0e 04 44d2 03 6162"])
def test_truncated_stream_header(encoded: str) -> None:
    assert error_of(encoded) == (ENCODING, bytes.fromhex(encoded)[0])


@pytest.mark.parametrize(
    "encoded",
    [
        "02 03 00 00 04",  # first range below 0
        "02 03 00 01 02 00 00",  # smallest 1, gap 0: largest would be -1
        "02 05 00 01 00 00 04",  # second range 3..-1
        "02 05 00 01 00 05 00",  # gap too wide
        "02 3f 00 3f 00 00 00",  # says 63 more ranges, has one
        f"02 3f 00 {MAX} 00 00 00",
        f"06 {MAX} 01 61",
        f"06 00 {MAX} 61",
        "07 00",
        f"0c 04 {MAX} 61",
        f"0e 04 {MAX} 01 61",
        f"0e 04 00 {MAX} 61",
        "12 d000000000000001",
        "13 d000000000000001",
        "16 d000000000000001",
        "17 d000000000000001",
        f"18 03 04 01 aa {TOKEN}",  # Retire Prior To over Sequence Number
        f"18 03 03 00 {TOKEN}",
        f"18 03 03 15 {'aa' * 21} {TOKEN}",
        f"1c 00 00 {MAX} 61",
        "31 03 6162",
    ],
)
def test_malformed(encoded: str) -> None:
    assert error_of(encoded) == (ENCODING, bytes.fromhex(encoded)[0])


def test_values_at_their_limits_are_accepted() -> None:
    last = encode_varint(VARINT_MAX - 1).hex()
    assert frames_of(f"06 {last} 01 61") == [Crypto(VARINT_MAX - 1, b"a")]
    assert frames_of(f"0c 04 {last} 61") == [Stream(4, VARINT_MAX - 1, b"a", False)]
    assert frames_of(f"0d 04 {MAX}") == [Stream(4, VARINT_MAX, b"", True)]
    twenty = "bb" * 20
    assert frames_of(f"18 00 00 14 {twenty} {TOKEN}") == [
        NewConnectionId(0, 0, bytes.fromhex(twenty), bytes.fromhex(TOKEN))
    ]


@pytest.mark.parametrize(
    ("encoded", "frame_type"), [("20", 0x20), ("2f", 0x2F), ("4040", 0x40), (MAX, VARINT_MAX)]
)
def test_unknown_type(encoded: str, frame_type: int) -> None:
    for level in Level:
        assert error_of(encoded, level) == (ENCODING, frame_type)
    with pytest.raises(TransportError) as caught:
        parse_frame(frame_type, b"", 0, 0)
    assert (caught.value.code, caught.value.frame_type) == (ENCODING, frame_type)


@pytest.mark.parametrize("encoded", ["4001", "80000001", "c000000000000001"])
def test_type_that_is_not_in_its_shortest_form(encoded: str) -> None:
    assert error_of(encoded) == (VIOLATION, 1)


def test_truncated_type() -> None:
    with pytest.raises(TransportError) as caught:
        read_frame_type(b"\x40\x40", 0, 1)
    assert caught.value.code == ENCODING


@pytest.mark.parametrize("level", list(Level))
def test_packet_without_frames(level: Level) -> None:
    assert error_of("", level) == (VIOLATION, 0)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize(("encoded", "frame"), FRAMES, ids=FRAMES_IDS)
def test_legality_by_level(encoded: str, frame: Frame, level: Level) -> None:
    frame_type = type_of(encoded)
    if level in FRAME_TYPES[frame_type].levels:
        assert frames_of(encoded, level) == [frame]
    else:
        assert error_of(encoded, level) == (VIOLATION, frame_type)


def test_frames_before_the_bad_one_are_given() -> None:
    data = bytes.fromhex("01 00 20")
    frames = iter_frames(data, 0, len(data), Level.ONE_RTT)
    assert [next(frames), next(frames)] == [Ping(), Padding(1)]
    with pytest.raises(TransportError):
        next(frames)


def test_padding_runs() -> None:
    assert frames_of("00 00 01 00 00 00 01 00") == [Padding(2), Ping(), Padding(3), Ping(), Padding(1)]
    assert skip_padding(bytes(5) + b"\x01" + bytes(3), 1, 9) == 5
    assert skip_padding(bytes(9), 1, 7) == 7
    assert skip_padding(b"\x01\x00", 0, 2) == 0
    assert skip_padding(b"\x01\x00", 2, 2) == 2


def test_ack_keeps_the_newest_ranges_and_reads_on_after_all() -> None:
    count = 2 * MAX_ACK_RANGES
    largest = 3 * count
    data = encode_varint(largest) + b"\x00" + encode_varint(count) + b"\x00" + b"\x01\x00" * count + b"\x01"
    ack, pos = parse_ack(0x02, data, 0, len(data))
    assert pos == len(data) - 1
    expected = [(largest - 3 * index,) * 2 for index in range(MAX_ACK_RANGES)]
    assert ack.ranges == expected
    # The dropped ranges are still checked: one gap more goes below packet number 0.
    data = encode_varint(largest - 1) + data[2:-1]
    with pytest.raises(TransportError) as caught:
        parse_ack(0x02, data, 0, len(data))
    assert (caught.value.code, caught.value.frame_type) == (ENCODING, 0x02)


def test_stream_and_datagram_give_positions() -> None:
    data = bytes.fromhex("ff 04 44d2 02 6162 ffff")
    assert parse_stream(0x0F, data, 1, len(data)) == (4, 1234, 5, 7, True)
    assert parse_stream(0x0C, data, 1, len(data)) == (4, 1234, 4, 9, False)
    assert parse_datagram(0x31, data, 4, len(data)) == (5, 7)
    assert parse_datagram(0x30, data, 4, len(data)) == (4, 9)
