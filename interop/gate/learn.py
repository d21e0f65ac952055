"""A policy from past runs: what never failed has to pass, what sometimes failed has to as often as it did."""

import json
from collections.abc import Iterator, Sequence

from interop.gate.compare import goodput, measured, pool, seconds
from interop.gate.decision import counts_as_failure
from interop.gate.measures import Measure, lower_bound
from interop.gate.policy import Triple
from interop.report.squares import in_order
from interop.results import CellResult, MatrixResult, Status

# A cell that passes less often than this, or may do so, tells too little to be worth its repetitions.
_LEAST_RATE = 0.4
# Spread is known from so many runs on.
_LEAST_FOR_NOISE = 3


def learn(runs: Sequence[MatrixResult], least: int, traces_of: Sequence[str]) -> str:
    """The text of a policy. What has fewer than `least` runs is left free, and so is what never passed."""
    return "\n".join(_lines(runs, least, traces_of)) + "\n"


def _lines(runs: Sequence[MatrixResult], least: int, traces_of: Sequence[str]) -> Iterator[str]:
    versions = sorted({f"{name} {version}" for run in runs for name, version in run.peers.items()})
    yield f"# Learned from {len(runs)} runs of {', '.join(versions)}."
    yield "schema = 1"
    if traces_of:
        yield from ("", "[qlog]", f"peers = {json.dumps(list(traces_of))}")
    cells = pool(runs)
    order = in_order(list(dict.fromkeys(test for _, _, test in cells)))
    for triple in sorted(cells, key=lambda triple: (*triple[:2], order.index(triple[2]))):
        yield ""
        yield from _cell(triple, cells[triple], least)


def _cell(triple: Triple, cells: Sequence[CellResult], least: int) -> Iterator[str]:
    yield "[[cell]]"
    for name, value in zip(("server", "client", "test"), triple, strict=True):
        yield f"{name} = {json.dumps(value)}"
    passed = sum(cell.status is Status.SUCCEEDED for cell in cells)
    count = passed + sum(map(counts_as_failure, cells))
    free = _why_free(cells, passed, count, least)
    if free:
        yield 'expect = "any"'
        yield f"reason = {json.dumps(free, ensure_ascii=False)}"
        return
    if passed == count:
        yield f'expect = "pass"  # {passed} of {count}'
    else:
        # By chance it may have done better than it is.
        yield f"rate = {lower_bound(passed, count):.3f}  # {passed} of {count}"
    for name, take in (("seconds", seconds), ("goodput", goodput)):
        values = measured(cells, take)
        if len(values) >= _LEAST_FOR_NOISE:
            measure = Measure.of(values)
            yield f"{name} = {{ median = {measure.median:.3f}, noise = {measure.noise:.3f} }}"


def _why_free(cells: Sequence[CellResult], passed: int, count: int, least: int) -> str:
    """Empty if the cell is to be held to something."""
    if any(cell.status is Status.UNSUPPORTED for cell in cells):
        return "unsupported"
    if any(cell.status is Status.FAILED and cell.known for cell in cells):
        return "fails as is known"
    if count < least:
        return f"only {count} of {least} runs"
    if passed < count and lower_bound(passed, count) < _LEAST_RATE:
        return f"passed {passed} of {count}: too seldom to tell"
    return ""
