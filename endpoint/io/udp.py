"""One UDP socket that moves batches: GSO, GRO, ECN and local addresses, each with a fallback.

A batch is many datagrams of one size in one buffer (`endpoint.batch`). Linux cuts and joins them in the
kernel; elsewhere, or where a device refuses, they are sent one by one and gathered one by one, which the
core never notices.
"""

import contextlib
import errno
import socket
import sys
from dataclasses import replace
from typing import Self

from endpoint.batch import ECN_NOT_ECT, MAX_SEGMENTS, Address, PacketBuffer, RecvBatch, SendBatch
from endpoint.config import Config
from endpoint.io import sockopts

# What is left of the 1,500 bytes of an Ethernet frame after the headers of IPv4 and UDP.
ETHERNET_IPV4 = 1472
# Room for the control messages of one receive: pktinfo of both families, traffic class, GRO size.
_CONTROL_SPACE = 256
# Gathering leaves this much room for a next datagram of unknown size; a longer one would be cut off.
_GATHER_RESERVE = 16 * 1024
# How many socket errors and unusable datagrams one call passes over before it gives the loop its turn.
_SKIP_LIMIT = 16
# Both caches hold a few entries per local address; a peer can't add any.
_CACHE_LIMIT = 4096
_WOULD_BLOCK = (errno.EAGAIN, errno.EWOULDBLOCK)
# What a device without checksum offload, or a kernel with smaller limits, answers to UDP_SEGMENT.
_GSO_REFUSED = (errno.EIO, errno.EINVAL)
# Reports about an earlier datagram that come out of an innocent call.
_REPORTED = (
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EMSGSIZE,
    errno.EPROTO,
    errno.EACCES,
    errno.ENOPROTOOPT,
)

# length, segment size, peer, local, ECN
_Received = tuple[int, int, Address, Address | None, int]


class UdpSocket:
    """A non-blocking UDP socket. Make one by `bind` (server) or `for_family` (client).

    `gso` and `gro` tell whether the offloads are in use; `gso` turns false for good when the kernel
    refuses it. `error_count` counts ICMP errors and failed sends, `last_error` is the latest of them: hints
    for humans, since ICMP is not authenticated.
    """

    __slots__ = (
        "_carried",
        "_control_cache",
        "_ecn",
        "_error_queue",
        "_has_control",
        "_ipv4",
        "_local_cache",
        "_packet_info",
        "_port",
        "_resume_at",
        "_sock",
        "error_count",
        "gro",
        "gso",
        "last_error",
    )

    def __init__(
        self,
        sock: socket.socket,
        *,
        gso: bool = True,
        gro: bool = True,
        packet_info: bool = False,
        report_errors: bool = False,
    ) -> None:
        """Take over `sock`, a bound datagram socket.

        `packet_info`: tell the local address of what is received (wildcard binds). `report_errors`: ask for
        ICMP errors where the system can report them on an unconnected socket.
        """
        sock.setblocking(False)
        self._sock = sock
        self._ipv4 = sock.family == socket.AF_INET
        self._port: int = sock.getsockname()[1]
        self._has_control = hasattr(sock, "recvmsg_into")  # Windows has neither sendmsg nor recvmsg
        self._packet_info = packet_info and self._has_control
        self._ecn = self._has_control
        self._error_queue = report_errors and sockopts.request_error_queue(sock)
        self.gso = gso and sockopts.has_segmentation_offload(sock)
        self.gro = gro and sockopts.LINUX and sockopts.try_option(sock, sockopts.SOL_UDP, sockopts.UDP_GRO)
        self.error_count = 0
        self.last_error: OSError | None = None
        self._resume_at = 0
        self._carried: tuple[bytes, _Received] | None = None
        self._local_cache: dict[bytes, Address] = {}
        self._control_cache: dict[tuple[int, int, bool, Address | None], list[sockopts.ControlMessage]] = {}
        sockopts.request_buffers(sock)
        sockopts.forbid_fragmentation(sock)
        if self._has_control:
            sockopts.request_control_messages(sock, packet_info=self._packet_info)

    @classmethod
    def bind(
        cls,
        host: str | None,
        port: int,
        *,
        gso: bool = True,
        gro: bool = True,
        reuse_address: bool = False,
    ) -> Self:
        """A socket on `port` (0: any) of `host`; None or "::" is every address of both families.

        `reuse_address` sets SO_REUSEADDR. It is off by default: UDP knows no lingering connections, so a
        restart never needs it, and on Linux it lets a second server take the port without an error.

        Raises:
            OSError: the name is unknown, the address is not ours, the port is in use or not permitted.
        """
        if not host or host == "::":
            sock = _bind_wildcard(port, reuse_address)
            return cls(sock, gso=gso, gro=gro, packet_info=True)
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
        sock = _bind(family, address, reuse_address=reuse_address, dual_stack=False)
        return cls(sock, gso=gso, gro=gro, packet_info=address[0] == "0.0.0.0")  # noqa: S104 - compared, not bound

    @classmethod
    def for_family(
        cls, family: int, *, local: tuple[str, int] = ("", 0), gso: bool = True, gro: bool = True
    ) -> Self:
        """A client's socket: not connected, ICMP errors reported, on a port of the system's choice.

        `local`, a numeric host and a port, is where to bind it. Raises OSError.
        """
        sock = _bind(family, local, reuse_address=False, dual_stack=False)
        return cls(sock, gso=gso, gro=gro, report_errors=True)

    @property
    def address(self) -> Address:
        """What the socket is bound to, as the socket module gives it."""
        address: Address = self._sock.getsockname()
        return address

    @property
    def receive_buffer_size(self) -> int:
        """Bytes of datagrams that the kernel holds for us."""
        size = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        # Linux reports twice what it was asked for: the other half is for its own bookkeeping.
        return size // 2 if sockopts.LINUX else size

    def complete(self, config: Config) -> Config:
        """`config` with what only the socket knows, unless it says something else about the MTU."""
        mtu_probe = config.max_mtu_probe
        if mtu_probe is None and self._ipv4:
            mtu_probe = ETHERNET_IPV4
        return replace(config, receive_buffer_size=self.receive_buffer_size, max_mtu_probe=mtu_probe)

    def fileno(self) -> int:
        """The descriptor, for the event loop."""
        return self._sock.fileno()

    def close(self) -> None:
        """Give the port back. May be called twice."""
        self._sock.close()

    # -- receiving

    def recv_batch(self, buffer: PacketBuffer) -> RecvBatch | None:
        """Fill `buffer` with datagrams of one size and origin; None when there is nothing (now).

        With GRO one system call brings up to 64 KiB. Without, datagrams are gathered in consecutive slots
        until the socket is empty or one does not fit the others; that one is kept for the next call. So
        call again until it is None: the selector knows nothing of the one that is kept.
        """
        if self._carried is not None:
            data, first = self._carried
            self._carried = None
            buffer.data[: len(data)] = data
        else:
            received = self._receive(buffer.view)
            if received is None:
                return None
            first = received
        length, size, peer, local, ecn = first
        if not self.gro:
            length = self._gather(buffer, first)
        return RecvBatch(buffer, length, size, peer, local, ecn)

    def _gather(self, buffer: PacketBuffer, first: _Received) -> int:
        length, size = first[0], first[1]
        view = buffer.view
        limit = min(len(view) - max(size, _GATHER_RESERVE), (MAX_SEGMENTS - 1) * size)
        while length <= limit:
            received = self._receive(view[length:])
            if received is None:
                break
            if received[0] > size or received[2:] != first[2:]:
                self._carried = (bytes(view[length : length + received[0]]), received)
                break
            length += received[0]
            if received[0] < size:  # a shorter one can only be the last of its batch
                break
        return length

    def _receive(self, view: memoryview) -> _Received | None:
        for _ in range(_SKIP_LIMIT):
            try:
                if not self._has_control:
                    length, peer = self._sock.recvfrom_into(view)
                    return (length, length, peer, None, ECN_NOT_ECT) if length else None
                length, control, flags, peer = self._sock.recvmsg_into((view,), _CONTROL_SPACE)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno not in _REPORTED:
                    raise
                self._note_error(error)
                continue
            if flags & socket.MSG_TRUNC:
                continue
            # An empty datagram is no packet. The level-triggered selector brings us back for the rest.
            return self._describe(length, control, peer) if length else None
        return None

    def _describe(self, length: int, control: list[tuple[int, int, bytes]], peer: Address) -> _Received:
        size = length
        local: Address | None = None
        ecn = ECN_NOT_ECT
        for level, kind, data in control:
            if level == socket.IPPROTO_IP:
                if kind in {socket.IP_TOS, sockopts.IP_RECVTOS}:
                    ecn = data[0] & 3
                elif kind == sockopts.IP_PKTINFO:
                    local = self._local(data)
            elif level == socket.IPPROTO_IPV6:
                if kind == sockopts.IPV6_TCLASS:
                    ecn = int.from_bytes(data[:4], sys.byteorder) & 3
                elif kind == sockopts.IPV6_PKTINFO:
                    local = self._local(data)
            elif level == sockopts.SOL_UDP and kind == sockopts.UDP_GRO:
                size = int.from_bytes(data[:4], sys.byteorder)
        return length, size, peer, local, ecn

    def _local(self, data: bytes) -> Address:
        local = self._local_cache.get(data)
        if local is None:
            # in_pktinfo has 12 bytes, in6_pktinfo 20.
            decode = sockopts.local_from_pktinfo if len(data) < 20 else sockopts.local_from_pktinfo6
            if len(self._local_cache) >= _CACHE_LIMIT:
                self._local_cache.clear()
            local = self._local_cache[data] = decode(data, self._port)
        return local

    # -- sending

    def send_batch(self, buffer: PacketBuffer, batch: SendBatch) -> bool:
        """Send the datagrams of `batch`; False when the socket takes no more now.

        After False wait until the socket is writable and call again with the same buffer and batch: what
        had been sent is not sent twice. A batch that the system refuses (no route, too long for the
        interface) counts as sent and lost: recovery is the core's.
        """
        segmented = self.gso and batch.length > batch.segment_size and not self._resume_at
        if not segmented:
            return self._send_segments(buffer, batch, gso_refused=False)
        error = self._send(buffer.view[: batch.length], batch, batch.segment_size)
        if error in _WOULD_BLOCK:
            return False
        if error in _GSO_REFUSED:
            return self._send_segments(buffer, batch, gso_refused=True)
        return True

    def _send_segments(self, buffer: PacketBuffer, batch: SendBatch, *, gso_refused: bool) -> bool:
        at, length, size = self._resume_at, batch.length, batch.segment_size
        while at < length:
            end = min(at + size, length)
            error = self._send(buffer.view[at:end], batch, 0)
            if error in _WOULD_BLOCK:
                self._resume_at = at
                return False
            # A batch of segments longer than the interface's MTU is refused too, and then each of them
            # is: only where they pass one by one was segmentation the reason.
            if gso_refused and not error:
                self.gso = False
            at = end
        self._resume_at = 0
        return True

    def _send(self, data: memoryview, batch: SendBatch, segment_size: int) -> int:
        """One system call, repeated when it only reported something else; 0 or the error number."""
        for _ in range(_SKIP_LIMIT):
            try:
                if self._has_control:
                    self._sock.sendmsg((data,), self._control(batch, segment_size), 0, batch.peer)
                else:
                    self._sock.sendto(data, batch.peer)
            except BlockingIOError:
                return errno.EAGAIN
            except OSError as error:
                code = error.errno or errno.EIO
                if code == errno.EINVAL and not segment_size and self._ecn and batch.ecn:
                    self._ecn = False  # some systems know no traffic class as a control message
                    self._control_cache.clear()
                    continue
                if segment_size and code in _GSO_REFUSED:
                    return code
                self._note_error(error)
                if self._error_queue and code in {errno.ECONNREFUSED, errno.EPROTO}:
                    continue  # about an earlier datagram: this one is still to be sent
                return code
            return 0
        return errno.EIO

    def _control(self, batch: SendBatch, segment_size: int) -> list[sockopts.ControlMessage]:
        peer = batch.peer
        ipv4 = self._ipv4 or peer[0].startswith("::ffff:")
        key = (segment_size, batch.ecn, ipv4, batch.local)
        messages = self._control_cache.get(key)
        if messages is None:
            messages = []
            if segment_size:
                messages.append(sockopts.segment_message(segment_size))
            if batch.ecn and self._ecn:
                messages.append(sockopts.ecn_message(batch.ecn, ipv4=ipv4))
            if batch.local is not None and self._packet_info:
                messages.append(sockopts.pktinfo_message(batch.local))
            if len(self._control_cache) >= _CACHE_LIMIT:
                self._control_cache.clear()
            self._control_cache[key] = messages
        return messages

    def _note_error(self, error: OSError) -> None:
        self.last_error = error
        self.error_count += 1
        if self._error_queue:
            # What stays in the queue keeps the descriptor readable for ever.
            with contextlib.suppress(OSError):
                while True:
                    self._sock.recvmsg(0, _CONTROL_SPACE, sockopts.MSG_ERRQUEUE)


def _bind_wildcard(port: int, reuse_address: bool) -> socket.socket:
    """Dual stack, or IPv4 alone on a system without IPv6."""
    if socket.has_ipv6:
        try:
            return _bind(socket.AF_INET6, ("::", port), reuse_address=reuse_address, dual_stack=True)
        except OSError as error:
            if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                raise
    return _bind(socket.AF_INET, ("", port), reuse_address=reuse_address, dual_stack=False)


def _bind(family: int, address: Address, *, reuse_address: bool, dual_stack: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if reuse_address:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
