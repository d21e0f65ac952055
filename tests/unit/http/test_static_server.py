"""Files over HTTP/3, on a connection that the test plays."""

from pathlib import Path

import pytest
from unit.http.fake_h3 import FakeSession

from endpoint.errors import StreamError
from endpoint.h3.errors import H3ErrorCode
from endpoint.h3.events import BodyReadable, BodyWritable, RequestReset, RequestStopped
from endpoint.hq import CHUNK_SIZE
from endpoint.http.static_server import DISCARD_LIMIT, StaticServer
from endpoint.io.files import Directory

LARGE = bytes(range(256)) * (10 * CHUNK_SIZE // 1024)  # two pieces and a half


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "small.html").write_bytes(b"<p>small")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large").write_bytes(LARGE)
    return tmp_path


@pytest.fixture
def session(root: Path) -> FakeSession:
    return FakeSession(StaticServer(Directory(root)).answer)


def test_a_small_file_is_answered_at_once(session: FakeSession) -> None:
    session.request(path="/small.html?x")
    head = dict(session.fake.heads[0])
    assert (head[b":status"], head[b"content-type"]) == (b"200", b"text/html; charset=utf-8")
    assert (session.fake.body, session.fake.ended) == (b"<p>small", True)


@pytest.mark.parametrize(
    ("method", "path", "status", "content"),
    [
        ("HEAD", "/small.html", 200, b""),
        ("GET", "/empty", 200, b""),
        ("GET", "/missing", 404, b"404 Not Found\n"),
        ("GET", "/../secret", 404, b"404 Not Found\n"),
        ("POST", "/small.html", 405, b"405 Method Not Allowed\n"),
        ("OPTIONS", "*", 405, b"405 Method Not Allowed\n"),
    ],
)
def test_answers(session: FakeSession, method: str, path: str, status: int, content: bytes) -> None:
    session.request(method=method, path=path)
    assert (session.fake.status, session.fake.body, session.fake.ended) == (status, content, True)


def test_a_range(session: FakeSession) -> None:
    session.request((b"range", b"bytes=1-4"), path="/small.html")
    assert (session.fake.status, session.fake.body) == (206, b"p>sm")


def test_a_large_file_is_read_as_the_stream_takes_it(session: FakeSession) -> None:
    session.fake.room = CHUNK_SIZE + 1000
    session.request(path="/large")
    while not session.fake.ended:
        assert session.fake.room == 0
        session.fake.room = 700_000
        session.arrive(BodyWritable(0))
    assert session.fake.body == LARGE


@pytest.mark.parametrize("event", [RequestStopped(0, 0x10C), RequestReset(0, 0x10C)])
def test_a_client_that_goes_gets_no_more(session: FakeSession, event: RequestStopped | RequestReset) -> None:
    session.fake.room = 1000
    session.request(path="/large")
    session.arrive(event)
    assert session.fake.cancelled is H3ErrorCode.H3_REQUEST_CANCELLED
    session.fake.room = 1000
    session.arrive(BodyWritable(0))
    assert len(session.fake.body) == 1000


def test_a_file_that_has_shrunk_resets_the_stream(session: FakeSession, root: Path) -> None:
    session.fake.room = 1000
    session.request(path="/large")
    (root / "large").write_bytes(b"")
    session.fake.room = 1 << 30
    session.arrive(BodyWritable(0))
    assert session.fake.cancelled is H3ErrorCode.H3_INTERNAL_ERROR
    assert not session.fake.ended


def test_a_file_that_has_grown_ends_where_its_length_said(session: FakeSession, root: Path) -> None:
    session.fake.room = 1000
    session.request(path="/large")
    (root / "large").write_bytes(LARGE * 2)
    session.fake.room = 1 << 30
    session.arrive(BodyWritable(0))
    assert (len(session.fake.body), session.fake.ended) == (len(LARGE), True)


def test_a_stream_that_takes_nothing_any_more_ends_the_transfer(session: FakeSession) -> None:
    session.fake.raises = StreamError("stopped")
    session.request(path="/large")
    assert session.fake.heads == []
    assert not session.unfinished, "so nobody waits for it"


def test_a_short_body_of_a_request_is_dropped(session: FakeSession) -> None:
    session.request(path="/small.html", ended=False)
    session.fake.arrived.extend([(b"x" * 10, False), (b"", True)])
    session.arrive(BodyReadable(0))
    assert not session.fake.arrived
    assert (session.fake.ended, session.fake.stopped) == (True, None)


def test_a_long_body_of_a_request_is_stopped(session: FakeSession) -> None:
    session.request(path="/small.html", method="PUT", ended=False)
    session.fake.arrived.extend([(b"x" * DISCARD_LIMIT, False), (b"x", False), (b"x", False)])
    session.arrive(BodyReadable(0))
    assert len(session.fake.arrived) == 1
    assert session.fake.stopped is H3ErrorCode.H3_NO_ERROR
