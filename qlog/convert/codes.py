"""Errors: the newest drafts name them and give a number to those without a name; older ones did either."""

from typing import Any

from qlog.checks.codes import code
from qlog.model import JsonObject

_CRYPTO_ERRORS = range(0x100, 0x200)

# Named by asking which number each name has.
_TRANSPORT = {
    code(name): name
    for name in (
        "no_error", "internal_error", "connection_refused", "flow_control_error", "stream_limit_error",
        "stream_state_error", "final_size_error", "frame_encoding_error", "transport_parameter_error",
        "connection_id_limit_error", "protocol_violation", "invalid_token", "application_error",
        "crypto_buffer_exceeded", "key_update_error", "aead_limit_reached", "no_viable_path",
    )
}  # fmt: skip


def split(holder: JsonObject, field: str, written: Any, *, application: bool) -> None:
    """Write an error the newest way: `field` a name, and `error_code` where the name is "unknown".

    The numbers of an application mean what its protocol says, so they keep being numbers.
    """
    if not isinstance(written, int) or isinstance(written, bool):
        holder[field] = written
        return
    name = None if application else _transport_name(written)
    holder[field] = name or "unknown"
    if name is None:
        holder["error_code"] = written


def join(holder: JsonObject, field: str) -> Any:
    """The error as older drafts wrote it, a name or a number; takes both fields out."""
    name = holder.pop(field, None)
    number = holder.pop("error_code", None)
    return number if number is not None and (name is None or name == "unknown") else name


def _transport_name(number: int) -> str | None:
    if number in _CRYPTO_ERRORS:
        return f"crypto_error_0x{number:x}"
    return _TRANSPORT.get(number)
