"""More repetitions of what is undecided, until it is decided or has had its number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from interop.gate.decision import Decision, decide, is_spoilt
from interop.gate.policy import Policy, Triple
from interop.gate.sequential import Outcome
from interop.results import MatrixResult, merge

# What this machine spoils in a cell is not counted; with more than this the cell stays undecided.
_MOST_SPOILT = 3


@dataclass(frozen=True, slots=True)
class Repetition:
    """A cell to run once more, as this repetition of it."""

    triple: Triple
    number: int


# Runs repetitions. It may return fewer results than it was asked for: then it was interrupted.
Runner = Callable[[Sequence[Repetition]], MatrixResult]


def wanted(policy: Policy, result: MatrixResult) -> list[Repetition]:
    """The next round: for each undecided cell as many repetitions as can decide at least."""
    return [
        Repetition(decision.triple, number)
        for decision in decide(policy, result)
        if decision.outcome is Outcome.UNDECIDED and not _is_hopeless(decision)
        for number in range(_next(decision), _next(decision) + decision.more)
    ]


def go_on(policy: Policy, result: MatrixResult, run: Runner) -> MatrixResult:
    """The result with all further repetitions. Each round adds some to every undecided cell, so it ends."""
    while repetitions := wanted(policy, result):
        further = run(repetitions)
        result = merge([result, further])
        if len(further.cells) < len(repetitions):
            break
    return result


def _is_hopeless(decision: Decision) -> bool:
    return sum(map(is_spoilt, decision.cells)) > _MOST_SPOILT


def _next(decision: Decision) -> int:
    return max((cell.repeat for cell in decision.cells), default=0) + 1
