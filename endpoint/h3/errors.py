"""HTTP/3 and QPACK error codes (RFC 9114 §8.1, RFC 9204 §6, RFC 9297 §5.2), and exceptions that carry one.

A violation is raised where it is seen. `H3Connection` turns it into a close of the connection, or into a
reset of the stream, at one boundary.
"""

from enum import IntEnum

from endpoint.errors import InterquicError


class H3ErrorCode(IntEnum):
    """What an HTTP/3 endpoint says in RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE."""

    H3_DATAGRAM_ERROR = 0x33
    H3_NO_ERROR = 0x100
    H3_GENERAL_PROTOCOL_ERROR = 0x101
    H3_INTERNAL_ERROR = 0x102
    H3_STREAM_CREATION_ERROR = 0x103
    H3_CLOSED_CRITICAL_STREAM = 0x104
    H3_FRAME_UNEXPECTED = 0x105
    H3_FRAME_ERROR = 0x106
    H3_EXCESSIVE_LOAD = 0x107
    H3_ID_ERROR = 0x108
    H3_SETTINGS_ERROR = 0x109
    H3_MISSING_SETTINGS = 0x10A
    H3_REQUEST_REJECTED = 0x10B
    H3_REQUEST_CANCELLED = 0x10C
    H3_REQUEST_INCOMPLETE = 0x10D
    H3_MESSAGE_ERROR = 0x10E
    H3_CONNECT_ERROR = 0x10F
    H3_VERSION_FALLBACK = 0x110
    QPACK_DECOMPRESSION_FAILED = 0x200
    QPACK_ENCODER_STREAM_ERROR = 0x201
    QPACK_DECODER_STREAM_ERROR = 0x202


class H3Error(InterquicError):
    """The peer broke a rule of HTTP/3."""

    def __init__(self, code: H3ErrorCode, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason


class H3ConnectionError(H3Error):
    """Closes the connection with `code` (RFC 9114 §8)."""


class H3StreamError(H3Error):
    """Ends one request with `code`, both ways; the connection goes on (RFC 9114 §8)."""


def h3_error_name(code: int) -> str:
    """The name of an application error code of HTTP/3, else hexadecimal."""
    if code in H3ErrorCode.__members__.values():
        return H3ErrorCode(code).name
    return f"0x{code:x}"
