"""Priorities of responses (RFC 9218): the Priority field and the payload of PRIORITY_UPDATE."""

import re
from dataclasses import dataclass

from endpoint.errors import TransportError
from endpoint.h3.errors import H3ConnectionError, H3ErrorCode
from endpoint.wire.varint import Buffer, encode_varint, read_varint

DEFAULT_URGENCY = 3
LOWEST_URGENCY = 7

# Structured fields (RFC 8941 §3). Nothing here is matched twice: groups are atomic, so that hostile
# values cost no more than their length.
_KEY = rb"[a-z*][a-z0-9_\-.*]*+"
_BARE_ITEM = (
    rb"(?>"
    rb"-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}"  # decimal, integer
    rb'|"(?:[ !#-\[\]-~]|\\["\\])*+"'  # string
    rb"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+"  # token
    rb"|:[A-Za-z0-9+/=]*+:"  # byte sequence
    rb"|\?[01]"  # boolean
    rb")"
)
_PARAMETERS = rb"(?:;\ *+" + _KEY + rb"(?:=" + _BARE_ITEM + rb")?+)*+"
_INNER_LIST = rb"\(\ *+(?:" + _BARE_ITEM + _PARAMETERS + rb"(?:\ ++|(?=\))))*+\)"
_MEMBER = re.compile(
    rb"("
    + _KEY
    + rb")(?:=("
    + _BARE_ITEM
    + rb"|"
    + _INNER_LIST
    + rb"))?+"
    + _PARAMETERS
    + rb"[ \t]*+(,[ \t]*+|\Z)"
)


@dataclass(frozen=True, slots=True)
class Priority:
    """Priority parameters of a response (RFC 9218 §4): `urgency` 0, first, to 7; ValueError outside.

    `incremental`: pieces of the response are of use, so it shares with others of its urgency.
    """

    urgency: int = DEFAULT_URGENCY
    incremental: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.urgency <= LOWEST_URGENCY:
            raise ValueError("urgency is a number from 0 to 7")

    @classmethod
    def parse(cls, field_value: bytes) -> "Priority":
        """What a Priority field says; defaults stand for all that is not there or not understood.

        RFC 9218 §4 has unknown parameters and unexpected values ignored. A value that is no dictionary
        is as good as none: nothing but the order of sending hangs on it. Never raises.
        """
        usual = _USUAL.get(field_value)
        return usual if usual is not None else _parse(field_value)

    def serialize(self) -> bytes:
        """The field value, without parameters that have their defaults: may be empty."""
        parameters = [] if self.urgency == DEFAULT_URGENCY else [b"u=%d" % self.urgency]
        if self.incremental:
            parameters.append(b"i")
        return b", ".join(parameters)


# What clients send, but for spellings of their own.
_USUAL = {
    priority.serialize(): priority
    for priority in (Priority(urgency, incremental) for urgency in range(8) for incremental in (False, True))
}


def _parse(field_value: bytes) -> Priority:
    text = field_value.strip(b" ")
    members: dict[bytes, bytes] = {}
    position = 0
    more = bool(text)
    while more:
        member = _MEMBER.match(text, position)
        if member is None:
            return Priority()
        key, value, separator = member.groups()
        members[key] = b"?1" if value is None else value  # the last of several counts (RFC 8941 §4.2.2)
        position = member.end()
        more = bool(separator)
    urgency = members.get(b"u", b"")
    in_range = urgency.isdigit() and int(urgency) <= LOWEST_URGENCY
    return Priority(int(urgency) if in_range else DEFAULT_URGENCY, members.get(b"i") == b"?1")


def encode_priority_update(element_id: int, priority: Priority) -> bytes:
    """The payload of a PRIORITY_UPDATE frame about the stream or push `element_id` (RFC 9218 §7.2)."""
    return encode_varint(element_id) + priority.serialize()


def parse_priority_update(payload: Buffer) -> tuple[int, Priority]:
    """The prioritized element's ID and its priority. Raises H3ConnectionError for a payload without ID."""
    try:
        element_id, position = read_varint(payload, 0, len(payload))
    except TransportError:
        raise H3ConnectionError(H3ErrorCode.H3_FRAME_ERROR, "PRIORITY_UPDATE without an element") from None
    return element_id, Priority.parse(bytes(payload[position:]))
