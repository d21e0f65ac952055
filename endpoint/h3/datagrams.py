"""HTTP/3 Datagrams in QUIC DATAGRAM frames (RFC 9297 §2.1): which request a payload belongs to."""

from endpoint.errors import TransportError
from endpoint.h3.errors import H3ConnectionError, H3ErrorCode
from endpoint.wire.varint import Buffer, encode_varint, read_varint

# Requests are on client-initiated bidirectional streams, whose IDs are divisible by four.
_QUARTER = 4
_MAX_QUARTER_STREAM_ID = (1 << 60) - 1


def encode_datagram(stream_id: int, payload: Buffer) -> bytes:
    """The data of a QUIC DATAGRAM frame. Raises ValueError unless `stream_id` is that of a request."""
    if stream_id % _QUARTER:
        raise ValueError(f"stream {stream_id} carries no request")
    return encode_varint(stream_id // _QUARTER) + payload


def parse_datagram(data: bytes) -> tuple[int, bytes]:
    """Stream ID and payload. Raises H3ConnectionError (H3_DATAGRAM_ERROR)."""
    try:
        quarter, position = read_varint(data, 0, len(data))
    except TransportError:
        raise _error("a datagram without Quarter Stream ID") from None
    if quarter > _MAX_QUARTER_STREAM_ID:
        raise _error("a Quarter Stream ID of no stream")
    return quarter * _QUARTER, data[position:]


def _error(reason: str) -> H3ConnectionError:
    return H3ConnectionError(H3ErrorCode.H3_DATAGRAM_ERROR, reason)
