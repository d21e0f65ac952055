"""What the two containers, one JSON document or a sequence of records, have in common."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from qlog.model import Damage, JsonObject

# Big enough to make the cost per batch vanish, small enough to stay in the cache.
BATCH = 256


class Batch(NamedTuple):
    """Events as they stand in the file: `values[i]` has the index `first + i` in its trace."""

    trace: int
    first: int
    offset: int
    values: list[Any]


class Layout(Protocol):
    """A container of traces."""

    damages: list[Damage]

    def header(self) -> JsonObject:
        """The file's first object, with `"events": []` in the traces that have events. {} if it is lost."""

    def batches(self) -> Iterator[Batch]:
        """All events, once; what can't be read is added to `damages` as it is met."""
