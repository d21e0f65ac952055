"""SETTINGS (RFC 9114 §7.2.4, RFC 9204 §5, RFC 9220 §3, RFC 9297 §2.1.1): values, codec, checks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from endpoint.errors import TransportError
from endpoint.h3.errors import H3ConnectionError, H3ErrorCode
from endpoint.wire.varint import append_varint, read_varint


class SettingId(IntEnum):
    """Identifiers that mean something to us."""

    QPACK_MAX_TABLE_CAPACITY = 0x01
    MAX_FIELD_SECTION_SIZE = 0x06
    QPACK_BLOCKED_STREAMS = 0x07
    ENABLE_CONNECT_PROTOCOL = 0x08
    H3_DATAGRAM = 0x33


# RFC 9114 §7.2.4.1: settings of HTTP/2 that have none here. Their receipt is an error.
HTTP2_SETTINGS = frozenset((0x00, 0x02, 0x03, 0x04, 0x05))
_FLAGS = frozenset((SettingId.ENABLE_CONNECT_PROTOCOL, SettingId.H3_DATAGRAM))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an endpoint says about itself in its first frame. The defaults are what ours says.

    `max_field_section_size` is in bytes as RFC 9114 §4.2.2 counts them, None for no limit.
    `extra` are settings that this table does not have, such as those of extensions, and grease.
    """

    # Room for the fields that a client repeats in each request; what QPACK (RFC 9204 §3.2.3) calls capacity.
    qpack_max_table_capacity: int = 4096
    # Each of them makes us keep a whole field section until the encoder stream has caught up.
    qpack_blocked_streams: int = 16
    max_field_section_size: int | None = 65536
    # RFC 9220 §3; says something only if a server sends it.
    enable_connect_protocol: bool = True
    h3_datagram: bool = False
    extra: Mapping[int, int] = field(default_factory=dict, hash=False)

    def encode(self) -> bytes:
        """The payload of a SETTINGS frame. What has its initial value anyway is left out."""
        out = bytearray()
        for identifier, value in self._pairs():
            append_varint(out, identifier)
            append_varint(out, value)
        return bytes(out)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the payload of a SETTINGS frame; what it does not say has its initial value.

        Raises H3ConnectionError: H3_FRAME_ERROR if it is cut off, H3_SETTINGS_ERROR for an identifier that
        comes twice, is HTTP/2's, or has a value it can't have.
        """
        values: dict[int, int] = {}
        pos, end = 0, len(payload)
        while pos < end:
            try:
                identifier, pos = read_varint(payload, pos, end)
                value, pos = read_varint(payload, pos, end)
            except TransportError:
                raise H3ConnectionError(H3ErrorCode.H3_FRAME_ERROR, "SETTINGS end in a setting") from None
            if identifier in HTTP2_SETTINGS:
                raise _settings_error(f"setting 0x{identifier:x} is reserved for HTTP/2")
            if identifier in values:
                raise _settings_error(f"setting 0x{identifier:x} comes twice")
            if identifier in _FLAGS and value > 1:
                raise _settings_error(f"setting 0x{identifier:x} is {value}, neither 0 nor 1")
            values[identifier] = value
        return cls(
            qpack_max_table_capacity=values.pop(SettingId.QPACK_MAX_TABLE_CAPACITY, 0),
            qpack_blocked_streams=values.pop(SettingId.QPACK_BLOCKED_STREAMS, 0),
            max_field_section_size=values.pop(SettingId.MAX_FIELD_SECTION_SIZE, None),
            enable_connect_protocol=bool(values.pop(SettingId.ENABLE_CONNECT_PROTOCOL, 0)),
            h3_datagram=bool(values.pop(SettingId.H3_DATAGRAM, 0)),
            extra=values,
        )

    def check_against_remembered(self, remembered: "Settings") -> None:
        """After 0-RTT was accepted: nothing may be less than what the client went by (RFC 9114 §7.2.4.2).

        Raises H3ConnectionError (H3_SETTINGS_ERROR, QPACK_DECODER_STREAM_ERROR).
        """
        capacity = remembered.qpack_max_table_capacity
        if capacity and self.qpack_max_table_capacity != capacity:
            # RFC 9204 §3.2.3.
            raise H3ConnectionError(
                H3ErrorCode.QPACK_DECODER_STREAM_ERROR,
                f"QPACK_MAX_TABLE_CAPACITY is {self.qpack_max_table_capacity}, and 0-RTT went by {capacity}",
            )
        limit, before = self.max_field_section_size, remembered.max_field_section_size
        reduced = {
            "QPACK_BLOCKED_STREAMS": self.qpack_blocked_streams < remembered.qpack_blocked_streams,
            "MAX_FIELD_SECTION_SIZE": limit is not None and (before is None or limit < before),
            "ENABLE_CONNECT_PROTOCOL": self.enable_connect_protocol < remembered.enable_connect_protocol,
            "H3_DATAGRAM": self.h3_datagram < remembered.h3_datagram,
        }
        for name, is_less in reduced.items():
            if is_less:
                raise _settings_error(f"{name} is less than what 0-RTT went by")

    def _pairs(self) -> list[tuple[int, int]]:
        pairs: list[tuple[int, int]] = []
        if self.qpack_max_table_capacity:
            pairs.append((SettingId.QPACK_MAX_TABLE_CAPACITY, self.qpack_max_table_capacity))
        if self.max_field_section_size is not None:
            pairs.append((SettingId.MAX_FIELD_SECTION_SIZE, self.max_field_section_size))
        if self.qpack_blocked_streams:
            pairs.append((SettingId.QPACK_BLOCKED_STREAMS, self.qpack_blocked_streams))
        if self.enable_connect_protocol:
            pairs.append((SettingId.ENABLE_CONNECT_PROTOCOL, 1))
        if self.h3_datagram:
            pairs.append((SettingId.H3_DATAGRAM, 1))
        return [*pairs, *self.extra.items()]


# RFC 9114 §7.2.4.2: what holds for a peer until its SETTINGS are here.
INITIAL_SETTINGS = Settings(
    qpack_max_table_capacity=0,
    qpack_blocked_streams=0,
    max_field_section_size=None,
    enable_connect_protocol=False,
    h3_datagram=False,
)


def _settings_error(reason: str) -> H3ConnectionError:
    return H3ConnectionError(H3ErrorCode.H3_SETTINGS_ERROR, reason)
