"""Options and control messages of UDP sockets that differ from system to system.

The socket module names only some of them, so the numbers of the kernel's headers stand here. A system
that lacks one refuses it when the socket is made: the feature is then off, never an error.
"""

import ipaddress
import socket
import struct
import sys

from endpoint.batch import Address

LINUX = sys.platform.startswith("linux")
DARWIN = sys.platform == "darwin"

SOL_UDP = 17
UDP_SEGMENT = 103  # linux/udp.h
UDP_GRO = 104
SO_SNDBUFFORCE = 32  # asm-generic/socket.h
SO_RCVBUFFORCE = 33
IP_MTU_DISCOVER = 10  # linux/in.h
IPV6_MTU_DISCOVER = 23
PMTUDISC_PROBE = 3  # set DF and ignore what the kernel believes about the path: we search the MTU ourselves
IP_RECVERR = 11
IPV6_RECVERR = 25
MSG_ERRQUEUE = 0x2000
IP_PKTINFO = 26 if DARWIN else 8
IP_RECVTOS = 27 if DARWIN else 13
IP_DONTFRAG = 28  # Darwin's <netinet/in.h>; Linux has no such option for IPv4
WINDOWS_IP_DONTFRAGMENT = 14
# The numbers of RFC 3542 where the socket module of a system does not name them.
IPV6_RECVTCLASS: int = getattr(socket, "IPV6_RECVTCLASS", 66)
IPV6_TCLASS: int = getattr(socket, "IPV6_TCLASS", 67)
IPV6_RECVPKTINFO: int = getattr(socket, "IPV6_RECVPKTINFO", 49)
IPV6_PKTINFO: int = getattr(socket, "IPV6_PKTINFO", 50)
IPV6_DONTFRAG: int = getattr(socket, "IPV6_DONTFRAG", 62)

# Enough for some 3,000 datagrams: what arrives at 5 Gbit/s while the process is off the CPU for 5 ms.
BUFFER_SIZE = 4 * 1024 * 1024

_INT = struct.Struct("i")
_IN_PKTINFO = struct.Struct("=I4s4s")  # interface, the local address to answer from, destination
_IN6_PKTINFO = struct.Struct("=16sI")  # destination, interface

ControlMessage = tuple[int, int, bytes]


def try_option(sock: socket.socket, level: int, option: int, value: int = 1) -> bool:
    """Set an option; False where the system has none such."""
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True


def request_buffers(sock: socket.socket) -> None:
    """Ask for large kernel buffers, above the system's limit where we have the privilege."""
    for option, force in ((socket.SO_RCVBUF, SO_RCVBUFFORCE), (socket.SO_SNDBUF, SO_SNDBUFFORCE)):
        if not (LINUX and try_option(sock, socket.SOL_SOCKET, force, BUFFER_SIZE)):
            try_option(sock, socket.SOL_SOCKET, option, BUFFER_SIZE)


def forbid_fragmentation(sock: socket.socket) -> None:
    """RFC 9000 §14: UDP datagrams must not be fragmented at the IP layer."""
    ipv6 = sock.family == socket.AF_INET6
    if LINUX:
        try_option(sock, socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
        if ipv6:
            try_option(sock, socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
    else:
        try_option(sock, socket.IPPROTO_IP, IP_DONTFRAG if DARWIN else WINDOWS_IP_DONTFRAGMENT)
    if ipv6:
        try_option(sock, socket.IPPROTO_IPV6, IPV6_DONTFRAG)


def request_control_messages(sock: socket.socket, *, packet_info: bool) -> None:
    """Have ECN marks, and with `packet_info` local addresses, delivered with each datagram.

    For its IPv4 packets a dual-stack socket needs IPv4's option to tell the mark, while it tells their local
    addresses by IPv6's, as mapped ones.
    """
    ipv6 = sock.family == socket.AF_INET6
    try_option(sock, socket.IPPROTO_IP, IP_RECVTOS)
    if ipv6:
        try_option(sock, socket.IPPROTO_IPV6, IPV6_RECVTCLASS)
    if packet_info and ipv6:
        try_option(sock, socket.IPPROTO_IPV6, IPV6_RECVPKTINFO)
    elif packet_info:
        try_option(sock, socket.IPPROTO_IP, IP_PKTINFO)


def request_error_queue(sock: socket.socket) -> bool:
    """Have ICMP errors reported on an unconnected socket (Linux); True when they are."""
    if not LINUX:
        return False
    reported = try_option(sock, socket.IPPROTO_IP, IP_RECVERR)
    if sock.family == socket.AF_INET6:
        reported = try_option(sock, socket.IPPROTO_IPV6, IPV6_RECVERR)
    return reported


def has_segmentation_offload(sock: socket.socket) -> bool:
    """True when the kernel knows UDP_SEGMENT; a device may still refuse it when it sends."""
    if not LINUX:
        return False
    try:
        sock.getsockopt(SOL_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True


def segment_message(size: int) -> ControlMessage:
    """Have the kernel cut what is sent into segments of `size` bytes."""
    return (SOL_UDP, UDP_SEGMENT, struct.pack("=H", size))


def ecn_message(ecn: int, *, ipv4: bool) -> ControlMessage:
    """Mark what is sent. IPv4 packets of a dual-stack socket take the IPv4 option."""
    if ipv4:
        return (socket.IPPROTO_IP, socket.IP_TOS, _INT.pack(ecn))
    return (socket.IPPROTO_IPV6, IPV6_TCLASS, _INT.pack(ecn))


def local_from_pktinfo(data: bytes, port: int) -> Address:
    """The local address in an IP_PKTINFO message, with the socket's `port`."""
    _, local, _ = _IN_PKTINFO.unpack_from(data)
    return (socket.inet_ntop(socket.AF_INET, local), port)


def local_from_pktinfo6(data: bytes, port: int) -> Address:
    """The local address in an IPV6_PKTINFO message; the interface is kept where the address needs it."""
    packed, interface = _IN6_PKTINFO.unpack_from(data)
    scope = interface if ipaddress.IPv6Address(packed).is_link_local else 0
    return (socket.inet_ntop(socket.AF_INET6, packed), port, 0, scope)


def pktinfo_message(local: Address) -> ControlMessage:
    """Send from `local`, an address as the two functions above give it."""
    if len(local) == 2:
        packed = socket.inet_pton(socket.AF_INET, local[0])
        return (socket.IPPROTO_IP, IP_PKTINFO, _IN_PKTINFO.pack(0, packed, bytes(4)))
    packed = socket.inet_pton(socket.AF_INET6, local[0])
    return (socket.IPPROTO_IPV6, IPV6_PKTINFO, _IN6_PKTINFO.pack(packed, local[3]))
