"""What is otherwise than in earlier runs: verdicts, times and goodput."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from interop.gate.decision import Decision, counts_as_failure
from interop.gate.measures import Measure, Tolerance
from interop.gate.policy import Policy, Triple
from interop.gate.sequential import Outcome
from interop.results import CellResult, MatrixResult, Status


class Kind(StrEnum):
    """What has changed; the words of a policy's `[criteria]`, and what is no reason to complain."""

    REGRESSION = "regression"
    UNSUPPORTED = "unsupported"
    GONE = "gone"
    TIME = "time"
    GOODPUT = "goodput"
    FIX = "fix"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference in one cell; `message` says what was and what is."""

    kind: Kind
    triple: Triple
    message: str


def pool(baseline: Iterable[MatrixResult]) -> dict[Triple, list[CellResult]]:
    """All repetitions of each cell in all runs; each run may have numbered its own from 1."""
    cells: dict[Triple, list[CellResult]] = {}
    for result in baseline:
        for cell in result.cells:
            cells.setdefault((cell.server, cell.client, cell.test), []).append(cell)
    return cells


def changes(
    policy: Policy, decisions: Sequence[Decision], baseline: Sequence[MatrixResult]
) -> Iterator[Change]:
    """Against past runs, where there are any, and against the policy's own measures."""
    past = pool(baseline)
    for decision in decisions:
        before = past.get(decision.triple, [])
        if decision.cells and baseline:
            yield from _verdict(decision, before)
        yield from _measures(policy, decision, before)
    present = {decision.triple for decision in decisions if decision.cells}
    for triple in past:
        if triple not in present:
            yield Change(Kind.GONE, triple, "is in the baseline and not in these results")


def _verdict(decision: Decision, before: list[CellResult]) -> Iterator[Change]:
    if not before:
        yield Change(Kind.NEW, decision.triple, "is not in the baseline")
        return
    was, now = _share(before), _share(decision.cells)
    if now is None and was is not None and _is_unsupported(decision.cells):
        yield Change(Kind.UNSUPPORTED, decision.triple, "was supported in the baseline")
    elif was is None and now is not None:
        yield Change(Kind.NEW, decision.triple, "was unsupported in the baseline")
    elif was is None or now is None:
        return
    elif was == 1.0 and now < 1.0 and decision.test is None:
        yield Change(
            Kind.REGRESSION, decision.triple, f"passed {was:.0%} in the baseline and passes {now:.0%} now"
        )
    elif was < 1.0 and now == 1.0 and decision.outcome is not Outcome.UNDECIDED:
        yield Change(Kind.FIX, decision.triple, f"passed {was:.0%} in the baseline and passes now")


def _share(cells: Iterable[CellResult]) -> float | None:
    """How many repetitions passed of those that say something; None if none does."""
    verdicts = [
        cell.status is Status.SUCCEEDED
        for cell in cells
        if cell.status is Status.SUCCEEDED or counts_as_failure(cell)
    ]
    return sum(verdicts) / len(verdicts) if verdicts else None


def _is_unsupported(cells: Iterable[CellResult]) -> bool:
    return any(cell.status is Status.UNSUPPORTED for cell in cells)


def _measures(policy: Policy, decision: Decision, before: list[CellResult]) -> Iterator[Change]:
    """A baseline is measured on the machine of today as a rule: it counts before the policy's numbers."""
    rule = decision.rule
    for kind, past, values, tolerance, unit in (
        (
            Kind.TIME,
            _past(before, seconds) or (rule.seconds if rule is not None else None),
            measured(decision.cells, seconds),
            policy.time_tolerance,
            "s",
        ),
        (
            Kind.GOODPUT,
            _past(before, goodput) or (rule.goodput if rule is not None else None),
            measured(decision.cells, goodput),
            policy.goodput_tolerance,
            "Mbit/s",
        ),
    ):
        if past is not None and values:
            message = _worse(kind, past, median(values), tolerance, unit)
            if message:
                yield Change(kind, decision.triple, message)


def _worse(kind: Kind, past: Measure, now: float, tolerance: Tolerance, unit: str) -> str:
    """Longer times and lower rates are worse."""
    allowed = tolerance.around(past)
    lost = now - past.median if kind is Kind.TIME else past.median - now
    if lost <= allowed:
        return ""
    return (
        f"{now:.1f} {unit}, was {past.median:.1f} ± {past.noise:.1f}: {allowed:.1f} {unit} are no difference"
    )


def seconds(cell: CellResult) -> float | None:
    """How long it took."""
    return cell.seconds


def goodput(cell: CellResult) -> float | None:
    """What it measured in Mbit/s."""
    return cell.goodput_mbps


def measured(cells: Iterable[CellResult], take: Callable[[CellResult], float | None]) -> list[float]:
    """The values of those that succeeded: a failure has no time."""
    values = (take(cell) for cell in cells if cell.status is Status.SUCCEEDED)
    return [value for value in values if value is not None]


def _past(cells: Iterable[CellResult], take: Callable[[CellResult], float | None]) -> Measure | None:
    values = measured(cells, take)
    return Measure.of(values) if values else None
