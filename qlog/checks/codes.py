"""Error codes of the names that qlog uses (RFC 9000 §20.1, RFC 9114 §8.1)."""

from collections.abc import Mapping
from typing import Any

from qlog.packets import whole

_TRANSPORT = (
    "no_error",
    "internal_error",
    "connection_refused",
    "flow_control_error",
    "stream_limit_error",
    "stream_state_error",
    "final_size_error",
    "frame_encoding_error",
    "transport_parameter_error",
    "connection_id_limit_error",
    "protocol_violation",
    "invalid_token",
    "application_error",
    "crypto_buffer_exceeded",
    "key_update_error",
    "aead_limit_reached",
    "no_viable_path",
)
_HTTP3 = (
    "http_no_error",
    "http_general_protocol_error",
    "http_internal_error",
    "http_stream_creation_error",
    "http_closed_critical_stream",
    "http_frame_unexpected",
    "http_frame_error",
    "http_excessive_load",
    "http_id_error",
    "http_settings_error",
    "http_missing_settings",
    "http_request_rejected",
    "http_request_cancelled",
    "http_request_incomplete",
    "http_early_response",
    "http_connect_error",
    "http_version_fallback",
)
_CODES = {name: code for code, name in enumerate(_TRANSPORT)}
_CODES |= {name: 0x100 + code for code, name in enumerate(_HTTP3)}


def code(error: Any) -> int | None:
    """The number of an error that is a number or a name; None if it has none."""
    number = whole(error)
    if number is not None or not isinstance(error, str):
        return number
    if error.startswith("crypto_error_0x"):
        try:
            return int(error.removeprefix("crypto_error_"), 16)
        except ValueError:
            return None
    return _CODES.get(error)


def of(holder: Mapping[str, Any], *names: str) -> int | None:
    """The code of the first of the named fields; of error_code if that is "unknown"."""
    for name in names:
        if name in holder:
            return code(holder.get("error_code") if holder[name] == "unknown" else holder[name])
    return None


def of_frame(frame: Mapping[str, Any]) -> int | None:
    """The code of a frame of any era."""
    for name in ("raw_error_code", "error_code_value", "error_code_bytes"):
        number = whole(frame.get(name))
        if number is not None:
            return number
    return of(frame, "error", "error_code")
