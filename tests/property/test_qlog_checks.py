"""The checks and tools take any JSON for an event: they find things or not, but never raise."""

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qlog_samples import sequence
from qlog_traces import client

from qlog import cat, checks, stats
from qlog.model import Event, Trace
from qlog.ranges import Ranges
from qlog.reader import Reader
from qlog.side import Side

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 1 << 66)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "ack", "1RTT", "initial", "unknown", "12", "ff", "é"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["length", "frame_type", "name", "value", "packet_number", "push_id"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, list[Event]]:
    """The events of a valid trace, as the reader makes them."""
    told = client()
    path = tmp_path_factory.mktemp("trace") / "trace.sqlog"
    path.write_bytes(sequence(told.header, told.events))
    reader = Reader(path)
    return reader.traces[0], list(reader.events())


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        found += places(inner)
    return found


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_junk_in_events(data: st.DataObject, story: tuple[Trace, list[Event]]) -> None:
    trace, events = story
    changes: dict[int, list[tuple[int, Any]]] = {}
    for _ in range(data.draw(st.integers(1, 8))):
        changes.setdefault(data.draw(st.integers(0, len(events) - 1)), []).append(
            (data.draw(st.integers(0, 40)), data.draw(JUNK))
        )
    (observer,) = checks.observers()
    observer.on_trace(trace)
    side, collector = Side("", "client"), stats.Collector(events[0])
    for event in events:
        fields = copy.deepcopy(event.fields)
        for which, junk in changes.get(event.index, ()):
            spots = places(fields["data"])
            if spots:
                container, key = spots[which % len(spots)]
                container[key] = junk
        changed = Event(
            trace, event.index, event.time, event.name, event.original_name, fields["data"], fields, "", 0
        )
        observer.on_event(changed)
        side.take(changed)
        collector.take(changed)
        cat.line(changed, 0.0)
        cat.as_json(changed, 0.0)
        cat.Filter(streams=frozenset({0}), packets=((0, 5),)).takes(changed, 0.0)
    json.dumps([finding.message for finding in observer.findings()])
    collector.statistics()


RUNS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), max_size=12)


@given(RUNS, st.integers(0, 45), st.integers(0, 6))
def test_ranges_are_a_set(runs: list[tuple[int, int]], low: int, size: int) -> None:
    ranges, model = Ranges(), set()
    for first, more in runs:
        ranges.add(first, first + more - 1)
        model |= set(range(first, first + more))
    assert {number for first, last in ranges for number in range(first, last + 1)} == model
    bounds = list(ranges)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(bounds))
    wanted = set(range(low, low + size + 1))
    assert ranges.covers(low, low + size) == (wanted <= model)
    assert ranges.overlaps(low, low + size) == bool(wanted & model)
    missing = [number for first, last in ranges.missing(low, low + size) for number in range(first, last + 1)]
    assert missing == sorted(wanted - model)
    assert (ranges.total, ranges.largest, len(ranges)) == (len(model), max(model, default=-1), len(bounds))


def test_very_many_ranges_are_blurred_at_their_low_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qlog.ranges.MOST_RANGES", 10)
    ranges = Ranges()
    for number in range(0, 40, 2):
        ranges.add(number, number)
    assert len(ranges) <= 10
    blurred = ranges.blurred
    assert 0 < blurred < 38
    for number in range(40):
        assert ranges.surely(number) == (number > blurred and number % 2 == 0)
        assert (number in ranges) == (number <= blurred or number % 2 == 0)
    ranges.forget(38)
    assert list(ranges) == [(38, 38)]


def test_a_file_without_packets(tmp_path: Path) -> None:
    told = client()
    told.drop("quic:packet_sent", "quic:packet_received")
    path = tmp_path / "trace.sqlog"
    path.write_bytes(sequence(told.header, told.events))
    assert [one.sent.count for one in stats.statistics(path)] == [0]
