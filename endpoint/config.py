"""Settings of a connection, under their RFC names, each default with its reason."""

from dataclasses import dataclass
from enum import StrEnum

from endpoint.trace import TracerFactory


class CongestionAlgorithm(StrEnum):
    """The congestion controllers of `recovery.congestion`."""

    CUBIC = "cubic"
    NEWRENO = "newreno"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What both roles can choose about the transport. Times are seconds, sizes bytes."""

    # Versions to speak, most preferred first (RFC 9368). A server changes a client that offers both to
    # the first of these; version 1 first because middleboxes and tests expect it.
    versions: tuple[int, ...] = (1, 0x6B3343CF)
    # The version a client begins in. Version 1 is what every server has.
    initial_version: int = 1
    # RFC 9000 §18.2. Half a minute: long enough for a link that is dark for some seconds.
    max_idle_timeout: float = 30.0
    # Longer than the idle timeout: on a link that loses 30 % each way a handshake may need a minute.
    handshake_timeout: float = 60.0
    # RFC 9000 §14.1: every path carries 1200; 1252 is what fits an IPv6 packet of 1300 bytes. The size to
    # begin with, and the only one without `pmtud`.
    max_udp_payload_size: int = 1252
    # Search for larger datagrams that the path carries, up to the size below (RFC 9000 §14.3).
    pmtud: bool = True
    # None: what fits an Ethernet frame, which over IPv4 (that only the driver knows) is a little more.
    max_mtu_probe: int | None = None
    # Mark packets as capable of ECN, on paths that turn out to be (RFC 9000 §13.4).
    ecn: bool = True
    # The largest datagram we are ready to receive (transport parameter of that name).
    max_receive_udp_payload_size: int = 65527
    # Windows start small and are auto-tuned up to the maximum as the application consumes.
    initial_max_data: int = 768 * 1024
    initial_max_stream_data: int = 512 * 1024
    max_data_window: int = 24 * 1024 * 1024
    max_stream_data_window: int = 16 * 1024 * 1024
    # Raised as streams finish. The interop runner asks for at most 1,000, zero-RTT for at least 40.
    initial_max_streams_bidi: int = 128
    initial_max_streams_uni: int = 128
    # How many bytes a stream keeps that the peer has not acknowledged, before `write` takes no more.
    send_buffer_size: int = 4 * 1024 * 1024
    active_connection_id_limit: int = 8
    # 0 is allowed for a client only.
    connection_id_length: int = 8
    # RFC 9002 §6.2.2; below 500 ms so that a ClientHello is repeated within a round trip of 1.5 s.
    initial_rtt: float = 0.333
    max_ack_delay: float = 0.025
    ack_delay_exponent: int = 3
    congestion: CongestionAlgorithm = CongestionAlgorithm.CUBIC
    # Send a PING when the connection has been quiet for this long; None never does.
    keep_alive: float | None = None
    # Set by the driver to what the kernel can buffer: a larger window only invites loss.
    receive_buffer_size: int | None = None
    # A server's preferred address (RFC 9000 §9.6), (host, port) of each family: clients move there when the
    # handshake is confirmed. The host is numeric, and the server has to have sockets there.
    preferred_ipv4: tuple[str, int] | None = None
    preferred_ipv6: tuple[str, int] | None = None
    # Ask the peer not to change its address on purpose (RFC 9000 §18.2). A NAT may do so all the same.
    disable_active_migration: bool = False
    # At most this many segments go in one batch (64 is the kernel's limit for UDP_SEGMENT).
    max_batch_segments: int = 64
    # Update keys whenever this many packets went either way, but not sooner than three PTOs after the last
    # time (RFC 9001 §6.5); None: only before the AEAD's limit.
    key_update_after: int | None = None
    # RFC 9221 §3: the longest DATAGRAM frame we take; 65535 takes all that fit a packet. 0: none at all,
    # because most applications have no use for them.
    max_datagram_frame_size: int = 0
    # Let the peer say how often it wants ACKs, and tell it where it sends too many for a fast path
    # (draft-ietf-quic-ack-frequency).
    ack_frequency: bool = True
    # Send values without meaning where peers must not mind: the fixed bit of packets (RFC 9287), a
    # transport parameter, a version. Whoever can't stand them is found out now, not at the next version.
    grease: bool = True
    # Makes what is told of each connection, such as `endpoint.tracing.QlogFolder`.
    tracer: TracerFactory | None = None
