"""Alternative services (RFC 7838): how a server says that it speaks HTTP/3; what clients remember of it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import quote, unquote

# Scheme, host in lower case, port.
Origin: TypeAlias = tuple[str, str, int]

# RFC 7838 §3.1: 24 hours, unless "ma" says otherwise.
DEFAULT_MAX_AGE = 24 * 3600
# RFC 9111 §1.2.2: what a number of seconds that is too large for us stands for.
_LONGEST_MAX_AGE = 1 << 31

# How long a server that could not be reached is left alone: at first, and at most, as it doubles each time.
FIRST_PAUSE = 300.0
LONGEST_PAUSE = 48 * 3600.0

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # noqa: S105 - RFC 9110 §5.6.2, no password
_QUOTED = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_PARAMETER = rf"[ \t]*+;[ \t]*+({_TOKEN})=({_TOKEN}|{_QUOTED})"
_ALTERNATIVE = re.compile(rf"({_TOKEN})=({_QUOTED})((?:{_PARAMETER})*+)")
_parameters = re.compile(_PARAMETER).findall
_CLEAR = re.compile(rf"clear(?!{_TOKEN}|=)")
_SEPARATOR = re.compile(r"(?:[ \t]*+,)++[ \t]*+|[ \t]*+\Z")
_authority = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s]*):([0-9]{1,5})").fullmatch

_TOKEN_WITHOUT_PERCENT = "!#$&'*+-.^_`|~"  # noqa: S105 - as above


@dataclass(frozen=True, slots=True)
class Alternative:
    """Where else the resources of an origin are, by which protocol (an ALPN ID), for `max_age` seconds.

    `host` is empty for the origin's own, and an IPv6 address without brackets. `persist`: still true in
    another network (RFC 7838 §3.1).
    """

    protocol: str
    host: str
    port: int
    max_age: int = DEFAULT_MAX_AGE
    persist: bool = False


def format_alt_svc(alternatives: Sequence[Alternative]) -> str:
    """The value of an Alt-Svc field; without alternatives "clear", which makes clients forget others."""
    if not alternatives:
        return "clear"
    return ", ".join(map(_format_one, alternatives))


def parse_alt_svc(value: str) -> list[Alternative] | None:
    """The alternatives that the field offers, the best first. Empty for "clear"; None: not to be understood.

    Alternatives with a port or host that can't be are left out, unknown parameters ignored.
    """
    found: list[Alternative] = []
    clear = False
    position = len(value) - len(value.lstrip(" \t,"))
    while position < len(value):
        if match := _CLEAR.match(value, position):
            clear = True
        elif match := _ALTERNATIVE.match(value, position):
            alternative = _parse_one(match[1], match[2], _parameters(match[3]))
            if alternative is not None:
                found.append(alternative)
        else:
            return None
        separator = _SEPARATOR.match(value, match.end())
        if separator is None:
            return None
        position = separator.end()
    if clear:
        return []  # also with alternatives beside it, which is invalid (RFC 7838 §3)
    return found or None


class AltSvcCache:
    """What origins have said about alternatives. Tell it only what came over an authenticated connection."""

    def __init__(self, *, limit: int = 1000) -> None:
        """`limit`: origins to remember; beyond, the one that was heard from the longest time ago goes."""
        self._limit = limit
        # To every alternative the time when it is no longer fresh.
        self._known: dict[Origin, list[tuple[Alternative, float]]] = {}

    def learn(self, origin: Origin, value: str, now: float, *, age: float = 0) -> None:
        """Take the Alt-Svc field of a response of `origin`; it replaces what was known (RFC 7838 §3.1).

        `age` is the response's Age in seconds, which counts against freshness.
        """
        alternatives = parse_alt_svc(value)
        if alternatives is None:
            return
        self._known.pop(origin, None)
        fresh = [(each, now - age + each.max_age) for each in alternatives if each.max_age > age]
        if fresh:
            self._known[origin] = fresh
            if len(self._known) > self._limit:
                del self._known[next(iter(self._known))]

    def alternatives(self, origin: Origin, now: float, protocol: str = "h3") -> list[Alternative]:
        """The fresh alternatives with that protocol, in the order of preference; `host` is always filled in.

        The certificate has to be valid for the origin's host, whatever `host` is (RFC 7838 §2.1).
        """
        known = self._known.get(origin)
        if known is None:
            return []
        fresh = [(each, until) for each, until in known if until > now]
        if not fresh:
            del self._known[origin]
        elif len(fresh) < len(known):
            self._known[origin] = fresh
        return [
            each if each.host else replace(each, host=origin[1])
            for each, _ in fresh
            if each.protocol == protocol
        ]

    def forget(self, origin: Origin, host: str, port: int) -> None:
        """This alternative does not serve the origin (RFC 7838 §6); nothing changes if there is none such."""
        known = self._known.get(origin, ())
        left = [(each, until) for each, until in known if (each.host or origin[1], each.port) != (host, port)]
        if left:
            self._known[origin] = left
        else:
            self._known.pop(origin, None)

    def network_changed(self) -> None:
        """We are in another network: forget what was not said to persist (RFC 7838 §2.2)."""
        for origin, known in list(self._known.items()):
            lasting = [(each, until) for each, until in known if each.persist]
            if lasting:
                self._known[origin] = lasting
            else:
                del self._known[origin]


class Unreachable:
    """Servers that did not answer, so that not every request waits for one again (RFC 7838 §2.4)."""

    def __init__(self, *, limit: int = 1000) -> None:
        """`limit`: servers to remember; beyond, the one that failed the longest time ago goes."""
        self._limit = limit
        # When the pause ends, and how long it was.
        self._pauses: dict[tuple[str, int], tuple[float, float]] = {}

    def failed(self, host: str, port: int, now: float) -> None:
        """It could not be reached: leave it alone, twice as long as the last time."""
        _, last = self._pauses.pop((host, port), (0.0, 0.0))
        pause = min(2 * last or FIRST_PAUSE, LONGEST_PAUSE)
        self._pauses[host, port] = now + pause, pause
        if len(self._pauses) > self._limit:
            del self._pauses[next(iter(self._pauses))]

    def worked(self, host: str, port: int) -> None:
        """It was reached: a failure after this is the first again."""
        self._pauses.pop((host, port), None)

    def is_paused(self, host: str, port: int, now: float) -> bool:
        """Whether to go without it for now."""
        return now < self._pauses.get((host, port), (0.0, 0.0))[0]


def _format_one(alternative: Alternative) -> str:
    host = f"[{alternative.host}]" if ":" in alternative.host else alternative.host
    text = f'{quote(alternative.protocol, safe=_TOKEN_WITHOUT_PERCENT)}="{host}:{alternative.port}"'
    if alternative.max_age != DEFAULT_MAX_AGE:
        text += f"; ma={alternative.max_age}"
    return text + "; persist=1" if alternative.persist else text


def _parse_one(protocol: str, authority: str, parameters: Iterable[tuple[str, str]]) -> Alternative | None:
    place = _authority(_unquoted(authority))
    if place is None or not 0 < int(place[2]) <= 0xFFFF:
        return None
    max_age = DEFAULT_MAX_AGE
    persist = False
    for name, quoted in parameters:
        value = _unquoted(quoted)
        if name.lower() == "ma":
            if not (value.isascii() and value.isdigit()):
                return None
            max_age = int(value) if len(value) <= 10 else _LONGEST_MAX_AGE
        elif name.lower() == "persist":
            persist = value == "1"  # other values are to be ignored
    host = place[1].strip("[]").lower()
    return Alternative(unquote(protocol), host, int(place[2]), min(max_age, _LONGEST_MAX_AGE), persist)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
