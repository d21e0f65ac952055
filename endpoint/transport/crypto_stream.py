"""The stream of handshake bytes at one encryption level (RFC 9000 §7.5, §19.6): no flow control, no end."""

from endpoint.errors import TransportError, TransportErrorCode
from endpoint.transport.flow_control import ReceiveWindow
from endpoint.transport.recv_stream import RecvStream
from endpoint.transport.send_stream import SendStream
from endpoint.wire.frames import FrameType
from endpoint.wire.varint import VARINT_MAX

# RFC 9000 §7.5 asks for 4096 at least. A chain of nine long certificates takes 10 kB; 64 KiB leaves
# room for several times that and is all that a peer can make us store.
MAX_CRYPTO_BUFFER = 65536
# CRYPTO frames name no stream; this stands where code needs a number to print.
NO_STREAM = -1


class _Unscheduled:
    """Nobody waits for handshake bytes: the packet builder looks at each level anyway."""

    def on_send_ready(self, stream: SendStream) -> None: ...
    def on_send_writable(self, stream: SendStream) -> None: ...
    def on_send_finished(self, stream: SendStream) -> None: ...


class CryptoStream:
    """Both directions of CRYPTO data at one level."""

    __slots__ = ("_received", "send")

    def __init__(self) -> None:
        self.send = SendStream(NO_STREAM, _Unscheduled(), VARINT_MAX, VARINT_MAX)
        self._received = RecvStream(NO_STREAM, ReceiveWindow(VARINT_MAX, VARINT_MAX))

    def receive(self, offset: int, data: bytes) -> bytes:
        """Take a CRYPTO frame; returns the bytes that are now in order.

        Raises CRYPTO_BUFFER_EXCEEDED for data too far ahead.
        """
        received = self._received
        if offset + len(data) - received.read_offset > MAX_CRYPTO_BUFFER:
            raise TransportError(
                TransportErrorCode.CRYPTO_BUFFER_EXCEEDED,
                f"CRYPTO data more than {MAX_CRYPTO_BUFFER} bytes ahead",
                FrameType.CRYPTO,
            )
        received.on_data(offset, data, False)
        return received.read()
