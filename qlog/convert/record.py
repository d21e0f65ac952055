"""An event on its way from one era to another, and what was lost on the way."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from qlog.model import JsonObject


@dataclass(slots=True)
class Record:
    """An event in the newest words. `time` is in ms from the trace's reference.

    `fields` are all others.
    """

    time: float
    name: str
    data: JsonObject
    fields: JsonObject = field(default_factory=dict)


class Dropped:
    """What could not be carried over, with the reason and how often."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def note(self, what: str, why: str) -> None:
        """Something is lost."""
        self.counts[what, why] += 1

    def lines(self) -> list[str]:
        """What to tell the user."""
        return [f"{what}: {why} ({count}x)" for (what, why), count in sorted(self.counts.items())]


def place(target: JsonObject, path: tuple[str, ...], value: Any) -> bool:
    """Put a value where nothing is yet, making maps on the way. False if something is there."""
    for step in path[:-1]:
        inner = target.get(step)
        if inner is None:
            inner = {}
        elif not isinstance(inner, dict):
            return False
        else:
            inner = dict(inner)
        target[step] = inner
        target = inner
    if path[-1] in target:
        return False
    target[path[-1]] = value
    return True
