import errno
import select
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from endpoint.batch import ECN_CE, ECN_ECT_0, ECN_ECT_1, Address, PacketBuffer, RecvBatch, SendBatch
from endpoint.config import Config
from endpoint.io.udp import UdpSocket

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="offloads are Linux's")
Opener = Callable[..., UdpSocket]


@pytest.fixture
def opened() -> Iterator[list[UdpSocket]]:
    sockets: list[UdpSocket] = []
    yield sockets
    for sock in sockets:
        sock.close()


@pytest.fixture
def bind(opened: list[UdpSocket]) -> Opener:
    def make(host: str | None, **options: Any) -> UdpSocket:
        opened.append(UdpSocket.bind(host, 0, **options))
        return opened[-1]

    return make


class Refusing(socket.socket):
    """A socket that answers errors of its own to chosen sends."""

    calls: int = 0
    judge: Callable[[list[Any]], int] = staticmethod(lambda _control: 0)

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        self.calls += 1
        code = self.judge(list(ancdata))
        if code == errno.EAGAIN:
            raise BlockingIOError(code, "full")
        if code:
            raise OSError(code, "refused")
        return super().sendmsg(buffers, ancdata, flags, address)


def refusing(judge: Callable[[list[Any]], int]) -> Refusing:
    sock = Refusing(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.judge = judge
    return sock


def is_gso(control: list[Any]) -> bool:
    return any(level == 17 and kind == 103 for level, kind, _ in control)


def fill(datagrams: list[bytes], peer: Address, *, local: Address | None = None, ecn: int = 0) -> Any:
    buffer = PacketBuffer()
    data = b"".join(datagrams)
    buffer.data[: len(data)] = data
    return buffer, SendBatch(len(data), len(datagrams[0]), peer, local, ecn)


def numbered(count: int, size: int = 1252) -> list[bytes]:
    return [bytes([i]) * size for i in range(count)]


def receive(sock: UdpSocket, buffer: PacketBuffer) -> RecvBatch:
    batch = sock.recv_batch(buffer)
    if batch is None:
        assert select.select([sock.fileno()], [], [], 2)[0], "nothing arrived"
        batch = sock.recv_batch(buffer)
    assert batch is not None
    return batch


def receive_all(sock: UdpSocket, count: int) -> list[list[bytes]]:
    """The datagrams of each batch, until `count` have come."""
    buffer = PacketBuffer()
    batches: list[list[bytes]] = []
    while sum(map(len, batches)) < count:
        batch = receive(sock, buffer)
        batches.append([bytes(buffer.view[start:end]) for start, end in batch.bounds()])
    return batches


@pytest.mark.parametrize("gso", [True, False])
@pytest.mark.parametrize("gro", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_batch_arrives_whole_and_in_order(bind: Opener, host: str, gso: bool, gro: bool) -> None:
    sender, receiver = bind(host, gso=gso), bind(host, gro=gro)
    sent = [*numbered(19), b"the last one is shorter"]
    assert sender.send_batch(*fill(sent, receiver.address))
    batches = receive_all(receiver, len(sent))
    assert [datagram for batch in batches for datagram in batch] == sent


@linux
def test_gso_and_gro_make_one_batch_of_one_call(bind: Opener) -> None:
    sender, receiver = bind("127.0.0.1"), bind("127.0.0.1")
    assert sender.gso
    assert receiver.gro
    buffer, batch = fill(numbered(52), receiver.address)
    assert sender.send_batch(buffer, batch)
    received = receive(receiver, PacketBuffer())
    assert (received.length, received.segment_size) == (52 * 1252, 1252)
    assert received.peer == sender.address


def test_gathering_ends_at_other_sizes_and_keeps_what_did_not_fit(bind: Opener) -> None:
    sender, receiver = bind("127.0.0.1"), bind("127.0.0.1", gro=False)
    sizes = [100, 100, 40, 100, 200, 200, 200]
    for i, size in enumerate(sizes):
        assert sender.send_batch(*fill([bytes([i]) * size], receiver.address))
    batches = receive_all(receiver, len(sizes))
    assert [[len(datagram) for datagram in batch] for batch in batches] == [[100, 100, 40], [100], [200] * 3]
    assert [datagram[0] for batch in batches for datagram in batch] == list(range(7))


def test_gathering_separates_senders(bind: Opener) -> None:
    first, second, receiver = bind("127.0.0.1"), bind("127.0.0.1"), bind("127.0.0.1", gro=False)
    for sender in (first, first, second, second, first):
        assert sender.send_batch(*fill([b"x" * 50], receiver.address))
    buffer = PacketBuffer()
    origins = []
    for _ in range(3):
        batch = receive(receiver, buffer)
        origins.append((batch.peer, batch.length // 50))
    assert origins == [(first.address, 2), (second.address, 2), (first.address, 1)]


def test_gathering_stops_at_64_slots(bind: Opener) -> None:
    sender, receiver = bind("127.0.0.1", gso=False), bind("127.0.0.1", gro=False)
    for _ in range(2):
        assert sender.send_batch(*fill(numbered(40, 30), receiver.address))
    assert [len(batch) for batch in receive_all(receiver, 80)] == [64, 16]


def test_nothing_to_receive_is_none(bind: Opener) -> None:
    assert bind("127.0.0.1").recv_batch(PacketBuffer()) is None


def test_an_empty_datagram_is_no_batch(bind: Opener) -> None:
    receiver = bind("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", receiver.address)
        sender.sendto(b"data", receiver.address)
    assert receiver.recv_batch(PacketBuffer()) is None
    assert receive(receiver, PacketBuffer()).length == 4


@pytest.mark.parametrize("ecn", [ECN_ECT_0, ECN_ECT_1, ECN_CE])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_ecn_marks_travel(bind: Opener, host: str, ecn: int) -> None:
    sender, receiver = bind(host), bind(host)
    assert sender.send_batch(*fill(numbered(3), receiver.address, ecn=ecn))
    assert receive(receiver, PacketBuffer()).ecn == ecn
    assert sender.send_batch(*fill(numbered(3), receiver.address))
    assert receive(receiver, PacketBuffer()).ecn == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_dual_stack_serves_both_families_with_ecn_and_local_address(bind: Opener, host: str) -> None:
    server, client = bind(None), bind(host)
    port = server.address[1]
    assert client.send_batch(*fill([b"question"], (host, port), ecn=ECN_ECT_0))
    batch = receive(server, PacketBuffer())
    assert batch.ecn == ECN_ECT_0
    assert batch.local is not None
    assert batch.local[:2] == ("::ffff:127.0.0.1" if host == "127.0.0.1" else "::1", port)
    assert server.send_batch(*fill([b"answer"], batch.peer, local=batch.local, ecn=ECN_ECT_1))
    answer = receive(client, PacketBuffer())
    assert answer.ecn == ECN_ECT_1
    assert answer.peer[:2] == (host, port)


@linux
@pytest.mark.parametrize("wildcard", ["0.0.0.0", None])
def test_replies_leave_from_the_address_they_were_sent_to(bind: Opener, wildcard: str | None) -> None:
    server, client = bind(wildcard), bind("127.0.0.1")
    assert client.send_batch(*fill([b"question"], ("127.8.7.6", server.address[1])))
    batch = receive(server, PacketBuffer())
    assert batch.local is not None
    assert batch.local[0].endswith("127.8.7.6")
    assert server.send_batch(*fill(numbered(4), batch.peer, local=batch.local))
    assert receive(client, PacketBuffer()).peer == ("127.8.7.6", server.address[1])


def test_a_socket_of_one_address_tells_no_local_address(bind: Opener) -> None:
    sender, receiver = bind("127.0.0.1"), bind("127.0.0.1")
    assert sender.send_batch(*fill([b"x"], receiver.address))
    assert receive(receiver, PacketBuffer()).local is None


@linux
@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL])
def test_refused_gso_is_repeated_by_segments_and_switched_off(bind: Opener, code: int) -> None:
    receiver = bind("127.0.0.1")
    raw = refusing(lambda control: code if is_gso(control) else 0)
    sender = UdpSocket(raw)
    sent = numbered(5)
    assert sender.send_batch(*fill(sent, receiver.address))
    assert [datagram for batch in receive_all(receiver, 5) for datagram in batch] == sent
    assert not sender.gso
    raw.calls = 0
    assert sender.send_batch(*fill(sent, receiver.address))
    assert raw.calls == 5
    sender.close()


@linux
def test_segments_too_long_for_the_path_do_not_switch_gso_off(bind: Opener) -> None:
    raw = refusing(lambda control: errno.EINVAL if is_gso(control) else errno.EMSGSIZE)
    sender = UdpSocket(raw)
    assert sender.send_batch(*fill(numbered(5), bind("127.0.0.1").address))
    assert sender.gso
    assert sender.last_error is not None
    assert sender.last_error.errno == errno.EMSGSIZE
    sender.close()


def test_would_block_in_the_middle_sends_nothing_twice(bind: Opener) -> None:
    receiver = bind("127.0.0.1")
    raw = refusing(lambda _control: errno.EAGAIN if raw.calls == 3 else 0)
    sender = UdpSocket(raw, gso=False)
    sent = numbered(5)
    buffer, batch = fill(sent, receiver.address)
    assert not sender.send_batch(buffer, batch)
    assert sender.send_batch(buffer, batch)
    assert raw.calls == 6
    assert [datagram for batch in receive_all(receiver, 5) for datagram in batch] == sent
    assert receiver.recv_batch(PacketBuffer()) is None
    sender.close()


@linux
def test_would_block_with_gso_is_retried_whole(bind: Opener) -> None:
    receiver = bind("127.0.0.1")
    raw = refusing(lambda _control: errno.EAGAIN if raw.calls == 1 else 0)
    sender = UdpSocket(raw)
    buffer, batch = fill(numbered(5), receiver.address)
    assert not sender.send_batch(buffer, batch)
    assert sender.gso
    assert sender.send_batch(buffer, batch)
    assert len(receive_all(receiver, 5)[0]) == 5
    sender.close()


def test_a_system_without_ecn_messages_sends_unmarked(bind: Opener) -> None:
    receiver = bind("127.0.0.1")
    sender = UdpSocket(refusing(lambda control: errno.EINVAL if control else 0), gso=False)
    assert sender.send_batch(*fill([b"x"], receiver.address, ecn=ECN_ECT_0))
    assert receive(receiver, PacketBuffer()).ecn == 0
    sender.close()


def test_no_route_is_a_lost_batch_and_noted(bind: Opener) -> None:
    sender = UdpSocket(refusing(lambda _control: errno.ENETUNREACH))
    assert sender.send_batch(*fill(numbered(2), bind("127.0.0.1").address))
    assert sender.error_count >= 1
    assert sender.last_error is not None
    assert sender.last_error.errno == errno.ENETUNREACH
    sender.close()


@linux
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_closed_port_is_noted_and_leaves_the_client_usable(
    bind: Opener, opened: list[UdpSocket], family: int, host: str
) -> None:
    receiver = bind(host)
    with socket.socket(family, socket.SOCK_DGRAM) as unused:
        unused.bind((host, 0))
        closed = unused.getsockname()
    client = UdpSocket.for_family(family)
    opened.append(client)
    assert client.send_batch(*fill([b"knock"], closed))
    assert select.select([client.fileno()], [], [], 2)[0]
    assert client.recv_batch(PacketBuffer()) is None
    assert client.error_count == 1
    assert client.last_error is not None
    assert client.last_error.errno == errno.ECONNREFUSED
    assert not select.select([client.fileno()], [], [], 0)[0], "the error queue was not emptied"
    # The report may also come out of the next send, which has to send all the same.
    assert client.send_batch(*fill([b"knock"], closed))
    assert client.send_batch(*fill([b"hello"], receiver.address))
    assert receive(receiver, PacketBuffer()).length == 5


def test_port_in_use_is_an_error(bind: Opener) -> None:
    port = bind("127.0.0.1").address[1]
    with pytest.raises(OSError, match="in use") as caught:
        UdpSocket.bind("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE


@linux
def test_reuse_address_shares_a_port() -> None:
    first = UdpSocket.bind("127.0.0.1", 0, reuse_address=True)
    second = UdpSocket.bind("127.0.0.1", first.address[1], reuse_address=True)
    first.close()
    second.close()


@linux
def test_fragmentation_is_forbidden_and_buffers_are_large(bind: Opener) -> None:
    sock = bind(None)
    with socket.socket(fileno=socket.dup(sock.fileno())) as raw:
        assert raw.getsockopt(socket.IPPROTO_IP, 10) == 3
        assert raw.getsockopt(socket.IPPROTO_IPV6, 23) == 3
    default = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    usual = default.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    default.close()
    assert sock.receive_buffer_size >= usual


def test_without_control_messages_batches_still_move(monkeypatch: pytest.MonkeyPatch, bind: Opener) -> None:
    """Windows has neither sendmsg nor recvmsg."""

    class Plain:
        def __init__(self, real: socket.socket) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            if "msg" in name:
                raise AttributeError(name)
            return getattr(self.real, name)

    monkeypatch.setattr("endpoint.io.sockopts.LINUX", False)
    real = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    real.bind(("127.0.0.1", 0))
    plain = UdpSocket(Plain(real), packet_info=True)  # type: ignore[arg-type]
    assert not plain.gso
    assert not plain.gro
    other = bind("127.0.0.1", gro=False)
    assert plain.send_batch(*fill(numbered(3), other.address, ecn=ECN_ECT_0))
    assert len(receive_all(other, 3)[0]) == 3
    assert other.send_batch(*fill(numbered(3), plain.address))
    assert len(receive_all(plain, 3)[0]) == 3
    plain.close()


@pytest.mark.parametrize(("host", "limit"), [("127.0.0.1", 1472), ("::1", None), (None, None)])
def test_the_family_decides_how_far_the_search_for_the_mtu_goes(
    bind: Opener, host: str | None, limit: int | None
) -> None:
    """None leaves it to the core, which takes what fits with the longer headers of IPv6."""
    sock = bind(host)
    config = sock.complete(Config())
    assert config.max_mtu_probe == limit
    assert config.receive_buffer_size == sock.receive_buffer_size
    assert sock.complete(Config(max_mtu_probe=1300)).max_mtu_probe == 1300
