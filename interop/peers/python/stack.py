"""What our programs on aioquic and qh3 share: both stacks have the same API, so one program drives either.

A session is one connection's requests and answers, over HTTP/0.9 or HTTP/3, whichever was negotiated.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

HQ = "hq-interop"
H3 = "h3"
STACKS = ("aioquic", "qh3")
BLOCK = bytes(range(256)) * 256  # what `/N` is made of, over and over


class Stack:
    """The parts of one QUIC stack that we use, under the names both have in common."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asyncio: Any = import_module(f"{name}.asyncio")
        self.server: Any = import_module(f"{name}.asyncio.server").QuicServer
        self.events: Any = import_module(f"{name}.quic.events")
        self.configuration: Any = import_module(f"{name}.quic.configuration").QuicConfiguration
        self.h3: Any = import_module(f"{name}.h3.connection").H3Connection
        self.h3_events: Any = import_module(f"{name}.h3.events")
        tls: Any = import_module(f"{name}.tls")
        self.cipher_suites: Any = tls.CipherSuite
        versions: Any = import_module(f"{name}.quic.packet").QuicProtocolVersion
        self.versions: dict[str, int] = {"v1": versions.VERSION_1, "v2": versions.VERSION_2}

    def configure(
        self,
        *,
        is_client: bool,
        alpn: Sequence[str] = (HQ,),
        versions: Sequence[str] = ("v1",),
        cipher_suites: Sequence[str] = (),
        keylog: Path | None = None,
        qlog: Path | None = None,
        **options: Any,
    ) -> Any:
        """A configuration; `versions` with the most preferred first, `options` are the stack's own."""
        if self.name == "qh3":
            # aioquic has no path MTU discovery; datagrams are to have one size everywhere.
            options["probe_datagram_size"] = False
        if cipher_suites:
            options["cipher_suites"] = [getattr(self.cipher_suites, name) for name in cipher_suites]
        if keylog:
            options["secrets_log_file"] = keylog.open("a", buffering=1)
        if qlog:
            qlog.mkdir(parents=True, exist_ok=True)
            logger: Any = import_module(f"{self.name}.quic.logger")
            options["quic_logger"] = logger.QuicFileLogger(str(qlog))
        return self.configuration(
            alpn_protocols=list(alpn),
            is_client=is_client,
            supported_versions=[self.versions[name] for name in versions],
            **options,
        )


def protocol_factory(stack: Stack, session: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A `create_protocol` whose protocols hand their events to `session(protocol, quic).on_event`."""

    def create(quic: Any, stream_handler: Any = None) -> Any:
        protocol = stack.asyncio.QuicConnectionProtocol(quic, stream_handler=stream_handler)
        protocol.session = session(protocol, quic)
        protocol.quic_event_received = protocol.session.on_event
        return protocol

    return create


@dataclass
class ServerSession:
    """Answers the requests of one connection."""

    stack: Stack
    root: Path | None
    quic: Any
    requests: dict[int, bytes] = field(default_factory=dict)
    h3: Any = None

    def on_event(self, event: Any) -> None:
        if isinstance(event, self.stack.events.ProtocolNegotiated) and event.alpn_protocol == H3:
            self.h3 = self.stack.h3(self.quic)
        if self.h3 is not None:
            for happened in self.h3.handle_event(event):
                self.on_h3_event(happened)
        elif isinstance(event, self.stack.events.StreamDataReceived):
            self.on_data(event)

    def on_data(self, event: Any) -> None:
        request = self.requests.pop(event.stream_id, b"") + event.data
        if event.end_stream:
            self.quic.send_stream_data(event.stream_id, self.answer(request) or b"", end_stream=True)
        else:
            self.requests[event.stream_id] = request

    def on_h3_event(self, event: Any) -> None:
        if not isinstance(event, self.stack.h3_events.HeadersReceived):
            return
        headers = dict(event.headers)
        content = self.answer(headers[b":method"] + b" " + headers[b":path"])
        status = b"404" if content is None else b"200"
        length = str(len(content or b"")).encode()
        self.h3.send_headers(event.stream_id, [(b":status", status), (b"content-length", length)])
        self.h3.send_data(event.stream_id, content or b"", end_stream=True)

    def answer(self, request: bytes) -> bytes | None:
        """The content for `GET /NAME`, None where there is none."""
        words = request.split()
        if len(words) != 2 or words[0] != b"GET":
            return None
        name = words[1].decode("ascii", "replace").removeprefix("/")
        if self.root is None:
            size = int(name) if name.isdecimal() else 0
            return (BLOCK * (size // len(BLOCK) + 1))[:size]
        path = self.root / name
        return path.read_bytes() if path.is_file() and path.resolve().parent == self.root.resolve() else None


@dataclass
class ClientSession:
    """The downloads of one connection; content goes to a directory, or is counted and dropped."""

    stack: Stack
    protocol: Any
    quic: Any
    directory: Path | None = None
    # Not None: HTTP/3, with this in `:authority`.
    authority: str | None = None
    waiting: deque[str] = field(default_factory=deque)
    names: dict[int, str] = field(default_factory=dict)
    received: int = 0
    failure: str = ""
    resumed: bool = False
    early_data: bool = False
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    files: dict[int, Any] = field(default_factory=dict)
    h3: Any = None

    def request(self, names: list[str]) -> None:
        self.start_h3()
        self.waiting.extend(names)
        self.send_requests()
        self.protocol.transmit()

    def start_h3(self) -> None:
        """At the first of: the protocol is negotiated, and the server's streams come; a request in 0-RTT."""
        if self.authority is not None and self.h3 is None:
            self.h3 = self.stack.h3(self.quic)

    def send_requests(self) -> None:
        """Request what the stream limit allows; aioquic queues the rest itself, qh3 refuses it."""
        while self.waiting:
            stream_id = self.quic.get_next_available_stream_id()
            if not self.may_open(stream_id):
                # No event tells of a raised limit.
                asyncio.get_running_loop().call_later(0.005, self.retry_requests)
                return
            self.send_request(stream_id, self.waiting[0])
            self.names[stream_id] = self.waiting.popleft()
            if self.directory is not None:
                self.files[stream_id] = (self.directory / self.names[stream_id]).open("wb")

    def may_open(self, stream_id: int) -> bool:
        """Whether qh3 takes a request on a new stream. One that it refuses is lost to us for ever: it counts
        as opened, so the limit is never raised for it.
        """
        limit: int = getattr(self.quic, "max_concurrent_bidi_streams", 0)
        return not limit or stream_id // 4 < limit

    def send_request(self, stream_id: int, name: str) -> None:
        if self.h3 is None:
            self.quic.send_stream_data(stream_id, f"GET /{name}\r\n".encode(), end_stream=True)
            return
        assert self.authority is not None
        fields = {":method": "GET", ":scheme": "https", ":authority": self.authority, ":path": f"/{name}"}
        headers = [(key.encode(), value.encode()) for key, value in fields.items()]
        self.h3.send_headers(stream_id, headers, end_stream=True)

    def retry_requests(self) -> None:
        self.send_requests()
        self.protocol.transmit()

    def on_event(self, event: Any) -> None:
        events = self.stack.events
        if isinstance(event, events.ProtocolNegotiated):
            self.start_h3()
        if self.h3 is not None:
            for happened in self.h3.handle_event(event):
                self.on_h3_event(happened)
        elif isinstance(event, events.StreamDataReceived):
            self.on_content(event.stream_id, event.data, ended=event.end_stream)
        if isinstance(event, events.HandshakeCompleted):
            self.resumed, self.early_data = event.session_resumed, event.early_data_accepted
        elif isinstance(event, (events.ConnectionTerminated, events.StreamReset)):
            if self.open_downloads:
                self.failure = f"{event}, {self.open_downloads} downloads open"
            self.finished.set()

    def on_h3_event(self, event: Any) -> None:
        if isinstance(event, self.stack.h3_events.HeadersReceived):
            status = dict(event.headers).get(b":status", b"200")
            if status != b"200":
                self.failure = f"{self.names.get(event.stream_id)}: status {status.decode()}"
            self.on_content(event.stream_id, b"", ended=event.stream_ended)
        elif isinstance(event, self.stack.h3_events.DataReceived):
            self.on_content(event.stream_id, event.data, ended=event.stream_ended)

    def on_content(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        self.received += len(data)
        if stream_id in self.files:
            self.files[stream_id].write(data)
        if ended:
            self.on_end(stream_id)

    def on_end(self, stream_id: int) -> None:
        self.names.pop(stream_id, None)
        if stream_id in self.files:
            self.files.pop(stream_id).close()
        if not self.open_downloads:
            self.finished.set()

    @property
    def open_downloads(self) -> int:
        return len(self.names) + len(self.waiting)
