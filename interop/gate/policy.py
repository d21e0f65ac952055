"""The policy: which cells have to pass, how often, and what else makes a gate red. A TOML file.

    schema = 1

    [sequential]                # for cells with a rate: see `interop.gate.sequential`
    alpha = 0.01                # a sound cell goes red at most so often
    beta = 0.01                 # a broken cell stays green at most so often
    max_repetitions = 30

    [criteria]                  # "error", "warning" or "off"
    regression = "error"        # passed in the baseline, fails now
    unsupported = "error"       # was supported in the baseline
    gone = "error"              # in the baseline, not in the results
    time = "warning"
    goodput = "error"
    qlog = "error"

    [time]                      # no difference: a share of the median, a multiple of the noise, seconds
    share = 0.5
    sigmas = 4
    floor = 1.0

    [goodput]                   # the same; floor in Mbit/s
    share = 0.1
    sigmas = 4
    floor = 0.2

    [qlog]
    peers = ["interquic"]       # whose traces have to be there, and to be valid
    max_errors = 0

    [[cell]]                    # the last rule that fits a cell counts; a cell that no rule fits is free
    server = "interquic"
    client = ["interquic", "aio*"]
    test = "standard"           # names, abbreviations, groups, or patterns of names
    expect = "pass"             # every repetition passes; "any": all is allowed

    [[cell]]
    server = "interquic"
    client = "qh3"
    test = "handshakeloss"
    rate = 0.95                 # instead of `expect`: it passes so often ...
    broken = 0.5                # ... and is broken if only so often
    seconds = { median = 80.0, noise = 9.0 }
    reason = "qh3 gives up on some handshakes"

What a rule names without a pattern has to be in the results.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final, TypeAlias

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from interop.gate.measures import Measure, Tolerance
from interop.gate.sequential import SequentialTest
from interop.testcases import ALL_CASES, select

# Server, client, test.
Triple: TypeAlias = tuple[str, str, str]

_SCHEMA_FILE: Final = Path(__file__).with_name("policy.schema.json")
_TIME: Final = Tolerance(share=0.5, sigmas=4.0, floor=1.0)
_GOODPUT: Final = Tolerance(share=0.1, sigmas=4.0, floor=0.2)
# A cell that passes in every second run is broken; one that never did much better needs another bound.
_BROKEN: Final = 0.5
_BROKEN_SHARE: Final = 0.625


class PolicyError(ValueError):
    """A policy can't be used; the message names the file and the place in it."""


class Expect(StrEnum):
    """What a rule says of its cells."""

    PASSES = "pass"
    RATE = "rate"
    ANY = "any"


class Level(StrEnum):
    """What follows from a finding."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One `[[cell]]`, the `number`-th of the file. `sequential` is there if it expects a rate."""

    number: int
    server: tuple[str, ...]
    client: tuple[str, ...]
    test: tuple[str, ...]
    expect: Expect = Expect.PASSES
    sequential: SequentialTest | None = None
    seconds: Measure | None = None
    goodput: Measure | None = None
    reason: str = ""

    def fits(self, triple: Triple) -> bool:
        """Whether it speaks of this cell."""
        return all(
            any(fnmatchcase(name, pattern) for pattern in patterns)
            for name, patterns in zip(triple, (self.server, self.client, self.test), strict=True)
        )

    def named(self) -> list[Triple]:
        """The cells that it names without a pattern."""
        plain = [[name for name in names if not _is_pattern(name)] for names in self._columns()]
        return [(server, client, test) for server, client, test in product(*plain)]

    def _columns(self) -> tuple[tuple[str, ...], ...]:
        return (self.server, self.client, self.test)

    def __str__(self) -> str:
        columns = (",".join(names) for names in self._columns())
        return f"rule {self.number} ({' '.join(columns)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A file's content, with defaults for what it leaves open."""

    rules: tuple[Rule, ...]
    regression: Level = Level.ERROR
    unsupported: Level = Level.ERROR
    gone: Level = Level.ERROR
    time: Level = Level.WARNING
    goodput: Level = Level.ERROR
    qlog: Level = Level.ERROR
    time_tolerance: Tolerance = _TIME
    goodput_tolerance: Tolerance = _GOODPUT
    qlog_peers: tuple[str, ...] = ()
    qlog_max_errors: int = 0

    def rule(self, triple: Triple) -> Rule | None:
        """The last rule that fits a cell."""
        return next((rule for rule in reversed(self.rules) if rule.fits(triple)), None)

    def wants_traces_of(self, peer: str) -> bool:
        """Whether findings in this peer's traces count."""
        return any(fnmatchcase(peer, pattern) for pattern in self.qlog_peers)


def default_broken(rate: float) -> float:
    """The pass rate at which a cell that used to have `rate` is taken for broken."""
    return min(_BROKEN, _BROKEN_SHARE * rate)


def read_policy(path: Path) -> Policy:
    """Raises PolicyError for a file that is not there or says something that it can't."""
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise PolicyError(f"{path}: not TOML: {error}") from error
    wrong = best_match(_validator().iter_errors(document))
    if wrong is not None:
        where = wrong.json_path.removeprefix("$").removeprefix(".")
        raise PolicyError(f"{path}: {where or 'the file'}: {wrong.message}")
    try:
        return _policy(document)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from error


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(_SCHEMA_FILE.read_text()))


def _policy(document: Mapping[str, Any]) -> Policy:
    sequential = document.get("sequential", {})
    qlog = document.get("qlog", {})
    return Policy(
        rules=tuple(
            _rule(number, table, sequential) for number, table in enumerate(document["cell"], start=1)
        ),
        time_tolerance=_tolerance(_TIME, document.get("time", {})),
        goodput_tolerance=_tolerance(_GOODPUT, document.get("goodput", {})),
        qlog_peers=_words(qlog.get("peers", [])),
        qlog_max_errors=qlog.get("max_errors", 0),
        **{name: Level(level) for name, level in document.get("criteria", {}).items()},
    )


def _rule(number: int, table: Mapping[str, Any], sequential: Mapping[str, Any]) -> Rule:
    where = f"cell[{number - 1}]"
    if "rate" in table and "expect" in table:
        raise PolicyError(f"{where}: either expect or rate")
    if "broken" in table and "rate" not in table:
        raise PolicyError(f"{where}: broken needs a rate")
    try:
        return Rule(
            number=number,
            server=_words(table["server"]),
            client=_words(table["client"]),
            test=tuple(_tests(_words(table["test"]))),
            expect=Expect.RATE if "rate" in table else Expect(table.get("expect", "pass")),
            sequential=_sequential(table, sequential) if "rate" in table else None,
            seconds=Measure(**table["seconds"]) if "seconds" in table else None,
            goodput=Measure(**table["goodput"]) if "goodput" in table else None,
            reason=table.get("reason", ""),
        )
    except ValueError as error:
        raise PolicyError(f"{where}: {error}") from error


def _sequential(table: Mapping[str, Any], common: Mapping[str, Any]) -> SequentialTest:
    rate = table["rate"]
    return SequentialTest(rate=rate, broken=table.get("broken", default_broken(rate)), **common)


def _tolerance(default: Tolerance, table: Mapping[str, float]) -> Tolerance:
    return Tolerance(
        share=table.get("share", default.share),
        sigmas=table.get("sigmas", default.sigmas),
        floor=table.get("floor", default.floor),
    )


def _words(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _tests(words: Iterable[str]) -> Iterable[str]:
    """Groups and abbreviations become names; a word that means no test is a mistake. Raises ValueError."""
    for word in words:
        if not _is_pattern(word):
            yield from (case.name for case in select([word]))
        elif any(fnmatchcase(name, word) for name in ALL_CASES):
            yield word
        else:
            raise ValueError(f"no test fits {word!r}")


def _is_pattern(word: str) -> bool:
    return any(character in word for character in "*?[")
