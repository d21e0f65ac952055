"""Which packets to show: terms `name=value`, all of which must hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from endpoint.wire.frames import MaxStreamData, ResetStream, StopSending, Stream, StreamDataBlocked
from endpoint.wire.version import PacketType
from interop.dissect.model import Datagram, Packet, Side
from interop.dissect.text import PACKET_NAMES, describe_frame

_Term: TypeAlias = Callable[[Datagram, Packet], bool]
_TYPES: Mapping[str, PacketType] = {
    name.lower().replace(" ", "-"): kind for kind, name in PACKET_NAMES.items()
}
_OF_STREAM = (Stream, MaxStreamData, ResetStream, StopSending, StreamDataBlocked)


class FilterError(ValueError):
    """A term that is none; the message says what there is."""


@dataclass(frozen=True, slots=True)
class PacketFilter:
    """Made from terms such as `side=client type=initial frame=ack`."""

    terms: Sequence[_Term]

    @classmethod
    def parse(cls, text: str) -> "PacketFilter":
        """Raises FilterError."""
        terms = []
        for word in text.replace(",", " ").split():
            name, _, value = word.partition("=")
            make = _MAKERS.get(name)
            if make is None or not value:
                raise FilterError(f"{word!r} is no filter; there are {', '.join(f'{n}=' for n in _MAKERS)}")
            terms.append(make(value))
        return cls(terms)

    def __call__(self, datagram: Datagram, packet: Packet) -> bool:
        """Whether the packet is wanted."""
        return all(term(datagram, packet) for term in self.terms)


def _side(value: str) -> _Term:
    sides = [side.value for side in Side]
    if value not in sides:
        raise FilterError(f"side={value}: sides are {', '.join(sides)}")
    return lambda _, packet: packet.sender == value


def _type(value: str) -> _Term:
    kind = _TYPES.get(value.lower())
    if kind is None:
        raise FilterError(f"type={value}: types are {', '.join(_TYPES)}")
    return lambda _, packet: packet.kind is kind


def _frame(value: str) -> _Term:
    name = value.upper()
    return lambda _, packet: any(describe_frame(frame).split(" ")[0] == name for frame in packet.frames)


def _range(value: str, what: str) -> range:
    low, _, high = value.partition("-")
    if not low.isdecimal() or (high and not high.isdecimal()):
        raise FilterError(f"{what}={value}: not a number or a range such as 3-17")
    return range(int(low), int(high or low) + 1)


def _stream(value: str) -> _Term:
    ids = _range(value, "stream")
    return lambda _, packet: any(
        isinstance(frame, _OF_STREAM) and frame.stream_id in ids for frame in packet.frames
    )


def _connection(value: str) -> _Term:
    numbers = _range(value, "connection")
    return lambda _, packet: packet.connection is not None and packet.connection.number in numbers


def _number(value: str) -> _Term:
    numbers = _range(value, "number")
    return lambda _, packet: packet.number in numbers


def _datagram(value: str) -> _Term:
    numbers = _range(value, "datagram")
    return lambda datagram, _: datagram.number in numbers


def _problem(value: str) -> _Term:
    if value not in ("yes", "no"):
        raise FilterError(f"problem={value}: say yes or no")
    return lambda _, packet: bool(packet.problem or packet.malformed) == (value == "yes")


_MAKERS: Mapping[str, Callable[[str], _Term]] = {
    "side": _side,
    "type": _type,
    "frame": _frame,
    "stream": _stream,
    "connection": _connection,
    "number": _number,
    "datagram": _datagram,
    "problem": _problem,
}
