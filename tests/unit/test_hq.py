from collections import deque
from typing import Any, cast

import pytest

from endpoint.errors import ConnectionClosedError, StreamError
from endpoint.events import (
    ConnectionClosed,
    HandshakeCompleted,
    StreamReadable,
    StreamReset,
    StreamsAvailable,
    StreamStopped,
    StreamWritable,
)
from endpoint.hq import CHUNK_SIZE, MAX_REQUEST, READ_SIZE, Content, HqClient, HqServer, parse_request

CLOSED = ConnectionClosed(0, 0, "bye", application=True, remote=True)
COMPLETED = HandshakeCompleted("hq-interop", 0x1301, ())


class FakeConnection:
    """What the two roles use of a connection, with room and limits that the test sets."""

    def __init__(self, *, room: int = 1 << 30, streams: int = 100) -> None:
        self.room = room
        self.limit = streams
        self.opened = 0
        self.incoming: dict[int, deque[tuple[bytes, bool]]] = {}
        self.sent: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.stops: dict[int, int] = {}
        self.raises: Exception | None = None
        self.is_closing = False

    def arrive(self, stream_id: int, *chunks: bytes, fin: bool) -> StreamReadable:
        queue = self.incoming.setdefault(stream_id, deque())
        queue.extend((chunk, fin and i == len(chunks) - 1) for i, chunk in enumerate(chunks))
        return StreamReadable(stream_id)

    def read(self, stream_id: int, max_bytes: int) -> tuple[bytes, bool]:
        """As the transport does it: everything that is there, up to `max_bytes`."""
        queue = self.incoming.get(stream_id)
        if not queue:
            return b"", False
        data = b"".join(chunk for chunk, _ in queue)
        fin = queue[-1][1]
        queue.clear()
        if len(data) > max_bytes:
            queue.append((data[max_bytes:], fin))
            return data[:max_bytes], False
        return data, fin

    def write(self, stream_id: int, data: bytes | memoryview, *, fin: bool = False) -> int:
        if self.raises is not None:
            raise self.raises
        accepted = min(len(data), self.room)
        self.room -= accepted
        self.sent[stream_id] = self.sent.get(stream_id, b"") + bytes(data[:accepted])
        if fin and accepted == len(data):
            self.ended.add(stream_id)
        return accepted

    def can_open_stream(self) -> bool:
        return self.opened < self.limit

    def open_stream(self) -> int:
        self.opened += 1
        return 4 * (self.opened - 1)

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        self.resets[stream_id] = error_code

    def stop_sending(self, stream_id: int, error_code: int) -> None:
        self.stops[stream_id] = error_code


class Piece:
    """Content that notes whether it was closed."""

    def __init__(self, data: bytes, error: OSError | None = None) -> None:
        self.data = data
        self.reads: list[int] = []
        self.closed = 0
        self.error = error

    def read(self, size: int, /) -> bytes:
        self.reads.append(size)
        if self.error is not None:
            raise self.error
        data, self.data = self.data[:size], self.data[size:]
        return data

    def close(self) -> None:
        self.closed += 1


class Collected:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.data = b""
        self.finished = False
        self.reason: str | None = None

    def write(self, data: bytes) -> None:
        self.data += data

    def finish(self) -> None:
        self.finished = True

    def abandon(self, reason: str) -> None:
        self.reason = reason


def drive(role: HqServer | HqClient, connection: FakeConnection, event: Any) -> None:
    role.on_event(cast("Any", connection), event)


def server_of(**contents: Content) -> HqServer:
    return HqServer(lambda path: contents.get(path.removeprefix("/")))


@pytest.mark.parametrize(
    ("request_line", "path"),
    [
        (b"GET /file\r\n", "/file"),
        (b"GET /file\n", "/file"),
        (b"GET /file", "/file"),
        (b"GET /a%20b/%C3%A9\r\n", "/a b/é"),
        (b"GET /file?query HTTP/0.9\r\n", "/file"),
        (b"GET /%2e%2e/x\r\n", "/../x"),
        (b"POST /file\r\n", None),
        (b"GET file\r\n", None),
        (b"GET /%ff\r\n", None),
        (b"\r\n", None),
        (b"", None),
    ],
)
def test_parse_request(request_line: bytes, path: str | None) -> None:
    assert parse_request(request_line) == path


def test_a_request_in_pieces_is_answered_once_it_ends() -> None:
    connection, content = FakeConnection(), Piece(b"content")
    server = server_of(file=content)
    drive(server, connection, connection.arrive(0, b"GET /f", fin=False))
    assert connection.sent == {}
    drive(server, connection, connection.arrive(0, b"ile\r", b"\n", b"", fin=True))
    assert connection.sent == {0: b"content"}
    assert connection.ended == {0}
    assert content.closed == 1


def test_a_missing_file_is_an_empty_answer() -> None:
    connection = FakeConnection()
    drive(server_of(), connection, connection.arrive(0, b"GET /none\r\n", fin=True))
    assert connection.sent == {0: b""}
    assert connection.ended == {0}


def test_a_large_file_is_read_as_the_stream_takes_it() -> None:
    data = bytes(range(256)) * 8192  # 2 MiB
    connection, content = FakeConnection(room=CHUNK_SIZE + 1000), Piece(data)
    server = server_of(big=content)
    drive(server, connection, connection.arrive(0, b"GET /big\r\n", fin=True))
    assert len(content.reads) == 2, "no more than the stream took, and the piece that waits"
    assert not connection.ended
    while not connection.ended:
        connection.room = 700_000
        drive(server, connection, StreamWritable(0))
    assert connection.sent[0] == data
    assert set(content.reads) == {CHUNK_SIZE}
    assert content.closed == 1


def test_an_endless_request_is_refused() -> None:
    connection = FakeConnection()
    server = server_of()
    for _ in range(MAX_REQUEST // 1000 + 1):
        drive(server, connection, connection.arrive(0, b"x" * 1000, fin=False))
    assert 0 in connection.resets
    assert 0 in connection.stops


def test_a_unidirectional_stream_gets_no_answer() -> None:
    connection = FakeConnection()
    drive(server_of(file=Piece(b"x")), connection, connection.arrive(2, b"GET /file\r\n", fin=True))
    assert connection.sent == {}


def test_a_file_that_fails_resets_the_stream() -> None:
    connection, content = FakeConnection(), Piece(b"", OSError(5, "Input/output error"))
    drive(server_of(bad=content), connection, connection.arrive(0, b"GET /bad\r\n", fin=True))
    assert 0 in connection.resets
    assert content.closed == 1


def test_a_file_that_can_not_be_opened_resets_the_stream() -> None:
    def lookup(_path: str) -> Content:
        raise PermissionError(13, "Permission denied")

    connection = FakeConnection()
    drive(HqServer(lookup), connection, connection.arrive(0, b"GET /x\r\n", fin=True))
    assert 0 in connection.resets


@pytest.mark.parametrize(
    "event", [StreamStopped(0, 7), StreamReset(0, 7), CLOSED], ids=["stopped", "reset", "closed"]
)
def test_an_answer_that_nobody_wants_is_given_up(event: Any) -> None:
    connection, content = FakeConnection(room=10), Piece(b"x" * 100)
    server = server_of(file=content)
    drive(server, connection, connection.arrive(0, b"GET /file\r\n", fin=True))
    drive(server, connection, event)
    assert content.closed == 1
    connection.room = 1000
    drive(server, connection, StreamWritable(0))
    assert connection.sent[0] == b"x" * 10


@pytest.mark.parametrize("error", [StreamError("stopped"), ConnectionClosedError("closed")])
def test_a_stream_that_ended_before_its_event_was_seen_harms_nobody(error: Exception) -> None:
    connection, content = FakeConnection(), Piece(b"x")
    connection.raises = error
    drive(server_of(file=content), connection, connection.arrive(0, b"GET /file\r\n", fin=True))
    assert content.closed == 1


def test_the_client_reads_on_while_there_may_be_more() -> None:
    client = HqClient()
    connection = FakeConnection(streams=1)
    sink = Collected()
    client.get("/0", sink)
    drive(client, connection, COMPLETED)
    content = bytes(2 * READ_SIZE + 5)
    drive(client, connection, connection.arrive(0, content, fin=True))
    assert sink.data == content
    assert sink.finished


def test_the_client_keeps_to_the_stream_limit() -> None:
    idle: list[bool] = []
    client = HqClient(lambda: idle.append(True))
    connection = FakeConnection(streams=2)
    sinks = [Collected() for _ in range(5)]
    for i, sink in enumerate(sinks):
        client.get(f"/{i}", sink)
    drive(client, connection, COMPLETED)
    assert connection.sent == {0: b"GET /0\r\n", 4: b"GET /1\r\n"}
    assert connection.ended == {0, 4}
    drive(client, connection, connection.arrive(4, b"one", fin=True))
    assert connection.opened == 2
    connection.limit = 5
    drive(client, connection, StreamsAvailable(unidirectional=True))
    assert connection.opened == 2
    drive(client, connection, StreamsAvailable(unidirectional=False))
    assert connection.opened == 5
    for stream_id in (0, 8, 12):
        drive(client, connection, connection.arrive(stream_id, b"par", b"ts", fin=True))
    assert client.pending == 1
    assert not idle
    drive(client, connection, connection.arrive(16, b"", fin=True))
    assert idle == [True]
    assert [sink.data for sink in sinks] == [b"parts", b"one", b"parts", b"parts", b""]
    assert all(sink.finished for sink in sinks)
    assert client.received == 18


def test_the_client_gives_up_what_the_server_resets() -> None:
    client, connection = HqClient(), FakeConnection()
    sinks = [Collected(), Collected(), Collected()]
    for i, sink in enumerate(sinks):
        client.get(f"/{i}", sink)
    drive(client, connection, COMPLETED)
    drive(client, connection, StreamReset(0, 5))
    drive(client, connection, StreamStopped(4, 6))
    drive(client, connection, CLOSED)
    assert [sink.reason for sink in sinks] == [
        "the server reset the stream (error 0x5)",
        "the server refused the request (error 0x6)",
        "bye",
    ]
    assert client.pending == 0
    drive(client, connection, CLOSED)


def test_requests_of_a_connection_that_is_closing_are_given_up() -> None:
    client, connection, sink = HqClient(), FakeConnection(), Collected()
    connection.is_closing = True
    client.get("/late", sink)
    client.send(cast("Any", connection))
    assert sink.reason == "the connection is closed"
    assert client.pending == 0


def test_a_second_answer_on_one_stream_is_not_possible() -> None:
    """The end of a stream may be seen twice: as the end of the data and on its own."""
    connection, content = FakeConnection(), Piece(b"x")
    server = server_of(file=content)
    drive(server, connection, connection.arrive(0, b"GET /file\r\n", fin=True))
    drive(server, connection, StreamReadable(0))
    assert connection.sent == {0: b"x"}
