"""Whatever bytes come on whatever stream, in whatever pieces: nothing raises, closes have right codes."""

import datetime as dt
from dataclasses import dataclass

import pytest
from conformance.h3_peer import REQUEST, RESPONSE, headers_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import RequestReset
from endpoint.h3.frames import FrameType, encode_frame
from endpoint.h3.settings import Settings
from endpoint.testing.certificates import Chain
from endpoint.testing.h3 import BatchH3End, H3End, H3Session
from endpoint.testing.scenario import Scenario

EXAMPLES = 60
# Bytes that get past the first check more often than any would.
FRAMES = st.builds(
    encode_frame,
    st.sampled_from([*FrameType, 0x02, 0x21, 0x40]),
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from([headers_frame(REQUEST)[2:], headers_frame(RESPONSE)[2:], Settings().encode()]),
        # Sections that refer to the dynamic table, which may or may not fill.
        st.sampled_from([b"\x02\0\x80", b"\x02\0\xd1\xd7\x50\0\x80", b"\0\0\xd1\xd7\xc1\x50\x01a"]),
    ),
)
CONTENT_LENGTH = (b"content-length", b"3")
HEADS = [
    headers_frame(head)
    for head in (
        REQUEST,
        [(b":method", b"POST"), *REQUEST[1:], CONTENT_LENGTH],
        [(b":method", b"CONNECT"), (b":authority", b"a:1")],
        [*REQUEST, (b"priority", b"u=9"), (b"te", b"gzip")],
        RESPONSE,
        [*RESPONSE, CONTENT_LENGTH],
        [(b":status", b"103")],
        [(b":status", b"204"), CONTENT_LENGTH],
        [(b"trailer", b"1")],
    )
]
DATA = st.lists(
    st.one_of(
        FRAMES,
        st.binary(max_size=12),
        st.sampled_from(HEADS),
        st.sampled_from([encode_frame(FrameType.DATA, b"one"), encode_frame(FrameType.DATA, b"")]),
        st.just(b"\x3f\xe1\x1f\x41a\x01b"),
    ),
    max_size=5,
).map(b"".join)


@dataclass(frozen=True)
class Said:
    """On one stream: `kind` is the type of a unidirectional one, None for one with a message."""

    kind: int | None
    data: bytes
    fin: bool


SAID = st.builds(
    Said,
    st.one_of(st.none(), st.sampled_from([0, 2, 3, 1, 0x21])),
    DATA,
    st.booleans(),
)


def make(chain: Chain, valid_from: dt.datetime, role: str, end: H3End) -> H3Session:
    return H3Session(Scenario(chain=chain, wall_time=valid_from.timestamp() + 3600, seed=1), role, end)


def say(session: H3Session, said: Said, size: int | None) -> None:
    if session.raw.closed is not None:
        return
    if said.kind is not None:
        stream_id = session.raw.connection.open_stream(unidirectional=True)
        session.write(stream_id, bytes((said.kind,)) + said.data, fin=said.fin, size=size)
        return
    if session.role == "server":
        stream_id = session.raw.connection.open_stream()
    else:
        stream_id = session.h3.h3.send_request(REQUEST, end=True)
        session.run()
    session.write(stream_id, said.data, fin=said.fin, size=size)


def outcome(session: H3Session) -> tuple[object, ...]:
    """All that the other end can see of it, and what the application was given."""
    closed = session.raw.closed
    if closed is not None:
        assert closed.application
        assert closed.error_code in H3ErrorCode.__members__.values()
        return (H3ErrorCode(closed.error_code),)
    # STOP_SENDING is not compared: it is of no use where the end had come with what was wrong.
    ended = dict(session.raw.resets)
    ended |= {event.stream_id: event.error_code for event in session.h3.of(RequestReset)}
    # How much of a message was given before an error was found in it depends on what came together.
    messages = {
        stream_id: (list(each.headers), bytes(each.body), each.trailers, each.complete)
        for stream_id, each in session.h3.messages.items()
        if stream_id not in ended
    }
    return (messages, ended)


@pytest.mark.parametrize("role", ["client", "server"])
@given(said=st.lists(SAID, min_size=1, max_size=3), size=st.sampled_from([1, 2, 3, 7]))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_bytes_in_any_pieces(
    chain: Chain, valid_from: dt.datetime, role: str, said: list[Said], size: int
) -> None:
    # What comes whole goes its own way where events are taken together.
    whole = make(chain, valid_from, role, BatchH3End(whole_responses=True))
    pieces = make(chain, valid_from, role, H3End())
    for each in said:
        say(whole, each, None)
        say(pieces, each, size)
    assert outcome(whole) == outcome(pieces)
