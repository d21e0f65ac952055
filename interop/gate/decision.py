"""What each cell's repetitions say under the policy."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from interop.gate.policy import Expect, Policy, Rule, Triple
from interop.gate.sequential import Outcome, SequentialTest
from interop.results import CellResult, MatrixResult, Owner, Status

# How often this machine may fail to run a cell before that is a result by itself.
_MOST_SPOILT: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A cell with all its repetitions, none if it is missing. `outcome` is None if the policy leaves it free.

    `more` is how many repetitions are needed before the outcome can be another than undecided.
    """

    triple: Triple
    outcome: Outcome | None
    reason: str
    cells: tuple[CellResult, ...] = ()
    rule: Rule | None = None
    more: int = 0

    @property
    def test(self) -> SequentialTest | None:
        """By which it is decided, if it is by one."""
        return self.rule.sequential if self.rule is not None else None

    @property
    def passed(self) -> int:
        """Repetitions that succeeded."""
        return sum(cell.status is Status.SUCCEEDED for cell in self.cells)

    @property
    def failed(self) -> int:
        """Repetitions that an endpoint failed."""
        return sum(counts_as_failure(cell) for cell in self.cells)

    @property
    def worst(self) -> CellResult | None:
        """The repetition to look at: the first that did not succeed."""
        bad = (cell for cell in self.cells if cell.status is not Status.SUCCEEDED)
        return next(bad, None)


def is_spoilt(cell: CellResult) -> bool:
    """The machine failed, not an endpoint: it says nothing of them."""
    return cell.status is Status.FAILED and cell.owner is Owner.RUNNER


def counts_as_failure(cell: CellResult) -> bool:
    """A failure that is somebody's and not known beforehand."""
    return cell.unexpected and not is_spoilt(cell)


def decide(policy: Policy, result: MatrixResult) -> list[Decision]:
    """Every cell of the results, then those that the policy names and that are not there."""
    triples = dict.fromkeys((cell.server, cell.client, cell.test) for cell in result.cells)
    decisions = [_decide(triple, policy.rule(triple), result.pair(*triple)) for triple in triples]
    named = dict.fromkeys(triple for rule in policy.rules for triple in rule.named())
    for triple in named:
        rule = policy.rule(triple)
        if triple not in triples and rule is not None and rule.expect is not Expect.ANY:
            reason = f"is not in the results, and {rule} wants it"
            decisions.append(Decision(triple=triple, outcome=Outcome.RED, reason=reason, rule=rule))
    return decisions


def idle_rules(policy: Policy, decisions: Iterable[Decision]) -> list[Rule]:
    """Rules that fit nothing in the results, so that they hold nobody to anything."""
    triples = [decision.triple for decision in decisions]
    return [rule for rule in policy.rules if not any(rule.fits(triple) for triple in triples)]


def _decide(triple: Triple, rule: Rule | None, found: list[CellResult]) -> Decision:
    cells = tuple(sorted(found, key=lambda cell: cell.repeat))
    outcome, reason, more = _judge(rule, cells)
    return Decision(triple=triple, outcome=outcome, reason=reason, cells=cells, rule=rule, more=more)


def _judge(rule: Rule | None, cells: tuple[CellResult, ...]) -> tuple[Outcome | None, str, int]:
    if rule is None or rule.expect is Expect.ANY:
        return None, rule.reason if rule is not None else "no rule fits", 0
    unsupported = next((cell for cell in cells if cell.status is Status.UNSUPPORTED), None)
    if unsupported is not None:
        return Outcome.RED, f"is unsupported: {unsupported.explanation}", 0
    passed = sum(cell.status is Status.SUCCEEDED for cell in cells)
    failures = [cell for cell in cells if counts_as_failure(cell)]
    known = [cell for cell in cells if cell.known and cell.status is Status.FAILED]
    if rule.sequential is None and failures:
        count = f" in {len(failures)} of {len(cells)} repetitions" if len(cells) > 1 else ""
        return Outcome.RED, f"failed{count}: {failures[0].explanation}", 0
    if known and not failures:
        return Outcome.GREEN, f"fails as is known: {known[0].known}", 0
    if passed + len(failures) == 0:
        return _spoilt(cells)
    if rule.sequential is None:
        return Outcome.GREEN, f"passed {passed} of {passed}", 0
    return _by_rate(rule.sequential, passed, len(failures))


def _spoilt(cells: tuple[CellResult, ...]) -> tuple[Outcome, str, int]:
    text = f"this machine could not run it: {cells[-1].explanation}"
    if len(cells) >= _MOST_SPOILT:
        return Outcome.RED, f"{text} ({len(cells)} times)", 0
    return Outcome.UNDECIDED, text, 1


def _by_rate(test: SequentialTest, passed: int, failed: int) -> tuple[Outcome, str, int]:
    outcome = test.decide(passed, failed)
    more = test.more(passed, failed)
    text = f"passed {passed} of {passed + failed}, expected {test.rate:.0%}"
    if outcome is Outcome.UNDECIDED:
        text += f"; {more} more repetition{'s' if more > 1 else ''} at least to decide"
    elif outcome is Outcome.RED:
        text += f"; {test.broken:.0%} is likelier"
    return outcome, text, more
