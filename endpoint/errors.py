"""Every error code of the protocol, and the exceptions that carry one.

A violation of the protocol is raised where it is seen and turned into a CONNECTION_CLOSE at one
boundary (`transport.connection`). Nothing below that boundary catches these.
"""

from enum import IntEnum


class TransportErrorCode(IntEnum):
    """RFC 9000 §20.1."""

    NO_ERROR = 0x00
    INTERNAL_ERROR = 0x01
    CONNECTION_REFUSED = 0x02
    FLOW_CONTROL_ERROR = 0x03
    STREAM_LIMIT_ERROR = 0x04
    STREAM_STATE_ERROR = 0x05
    FINAL_SIZE_ERROR = 0x06
    FRAME_ENCODING_ERROR = 0x07
    TRANSPORT_PARAMETER_ERROR = 0x08
    CONNECTION_ID_LIMIT_ERROR = 0x09
    PROTOCOL_VIOLATION = 0x0A
    INVALID_TOKEN = 0x0B
    APPLICATION_ERROR = 0x0C
    CRYPTO_BUFFER_EXCEEDED = 0x0D
    KEY_UPDATE_ERROR = 0x0E
    AEAD_LIMIT_REACHED = 0x0F
    NO_VIABLE_PATH = 0x10
    VERSION_NEGOTIATION_ERROR = 0x11  # RFC 9368 §10.2


CRYPTO_ERROR_FIRST = 0x0100
CRYPTO_ERROR_LAST = 0x01FF


class AlertDescription(IntEnum):
    """TLS alerts (RFC 9846 §6); in QUIC alert `a` is the error code 0x0100 + a (RFC 9001 §4.8)."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    INAPPROPRIATE_FALLBACK = 86
    USER_CANCELED = 90
    MISSING_EXTENSION = 109
    UNSUPPORTED_EXTENSION = 110
    UNRECOGNIZED_NAME = 112
    BAD_CERTIFICATE_STATUS_RESPONSE = 113
    UNKNOWN_PSK_IDENTITY = 115
    CERTIFICATE_REQUIRED = 116
    GENERAL_ERROR = 117
    NO_APPLICATION_PROTOCOL = 120


class InterquicError(Exception):
    """Base of every exception that this distribution raises on purpose."""


class TransportError(InterquicError):
    """The peer broke a rule of the transport; closes the connection with `code`.

    `frame_type` is the type of the frame at fault, 0 when unknown (RFC 9000 §19.19).
    """

    def __init__(self, code: int, reason: str, frame_type: int = 0) -> None:
        super().__init__(f"{transport_error_name(code)}: {reason}")
        self.code = int(code)
        self.reason = reason
        self.frame_type = frame_type


class AlertError(TransportError):
    """A failure of the TLS handshake; `code` is the CRYPTO_ERROR of the alert (RFC 9001 §4.8)."""

    def __init__(self, alert: AlertDescription, reason: str) -> None:
        super().__init__(CRYPTO_ERROR_FIRST + alert, reason)
        self.alert = alert


class StreamError(InterquicError):
    """An application asked a stream for something that its state does not allow. Local only."""


class MigrationError(InterquicError):
    """The connection can't be moved to another address now. Local only."""


class DatagramError(InterquicError):
    """The datagram can't be sent: the peer does not take it, or the path. Local only."""


class ConnectionClosedError(InterquicError):
    """The connection is closed: a command or a pending read or write can't be carried out."""


def transport_error_name(code: int) -> str:
    """The name of a transport error code, `CRYPTO_ERROR(alert)` for TLS alerts, else hexadecimal."""
    if CRYPTO_ERROR_FIRST <= code <= CRYPTO_ERROR_LAST:
        alert = code - CRYPTO_ERROR_FIRST
        known = alert in AlertDescription.__members__.values()
        return f"CRYPTO_ERROR({AlertDescription(alert).name.lower() if known else alert})"
    if code in TransportErrorCode.__members__.values():
        return TransportErrorCode(code).name
    return f"0x{code:x}"
