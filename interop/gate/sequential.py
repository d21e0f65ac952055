"""Whether a cell that does not always pass still passes as often as it used to: Wald's sequential test.

After each repetition the log-likelihood ratio of two hypotheses is known: the cell is sound and passes with
`rate`, or it is broken and passes with `broken`. Beyond one bound the cell is sound, beyond the other broken,
between them the test goes on. What is clear takes few repetitions, what is not takes more; a cell is never
run again because it failed.

A. Wald, Sequential Tests of Statistical Hypotheses, Annals of Mathematical Statistics 16 (1945).
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

# Sums of logarithms that are equal on paper differ in the last digits.
_ROUNDING = 1e-9


class Outcome(StrEnum):
    """What is known of a cell."""

    GREEN = "green"
    RED = "red"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Characteristics:
    """How the test ends for cells of one true pass rate: two probabilities, and the mean length."""

    green: float
    red: float
    repetitions: float


@dataclass(frozen=True, kw_only=True)
class SequentialTest:
    """`alpha`: a sound cell may go red so often; `beta`: a broken one green. Rates are between 0 and 1.

    After `max_repetitions` the likelier hypothesis is taken, so that the test ends.
    """

    rate: float
    broken: float
    alpha: float = 0.01
    beta: float = 0.01
    max_repetitions: int = 30

    def __post_init__(self) -> None:
        if not 0.0 < self.broken < self.rate < 1.0:
            raise ValueError(f"0 < broken < rate < 1 is needed, not {self.broken:g} and {self.rate:g}")

    def evidence(self, passed: int, failed: int) -> float:
        """The log-likelihood ratio: above 0 the cell looks broken, below it sound."""
        return passed * self._per_pass + failed * self._per_failure

    def decide(self, passed: int, failed: int) -> Outcome:
        """What so many repetitions say."""
        evidence = self.evidence(passed, failed)
        if evidence >= self._upper - _ROUNDING:
            return Outcome.RED
        if evidence <= self._lower + _ROUNDING:
            return Outcome.GREEN
        if passed + failed < self.max_repetitions:
            return Outcome.UNDECIDED
        return Outcome.RED if evidence > 0.0 else Outcome.GREEN

    def more(self, passed: int, failed: int) -> int:
        """The least number of further repetitions that can decide; 0 when all is decided."""
        if self.decide(passed, failed) is not Outcome.UNDECIDED:
            return 0
        evidence = self.evidence(passed, failed)
        to_pass = math.ceil((self._lower - evidence) / self._per_pass - _ROUNDING)
        to_fail = math.ceil((self._upper - evidence) / self._per_failure - _ROUNDING)
        return min(to_pass, to_fail, self.max_repetitions - passed - failed)

    def characteristics(self, true_rate: float) -> Characteristics:
        """Exact, by every way in which a test can run.

        Repetition by repetition: `more` at a time make no difference, since none but the last can decide.
        """
        waiting: dict[int, float] = {0: 1.0}
        ends = {Outcome.GREEN: 0.0, Outcome.RED: 0.0}
        count = 0
        repetitions = 0.0
        while waiting:
            repetitions += sum(waiting.values())
            count += 1
            following: defaultdict[int, float] = defaultdict(float)
            for passed, weight in waiting.items():
                for good, chance in ((passed + 1, true_rate), (passed, 1.0 - true_rate)):
                    outcome = self.decide(good, count - good)
                    if outcome is Outcome.UNDECIDED:
                        following[good] += weight * chance
                    else:
                        ends[outcome] += weight * chance
            waiting = following
        return Characteristics(ends[Outcome.GREEN], ends[Outcome.RED], repetitions)

    @property
    def false_alarms(self) -> float:
        """How often a cell that passes with `rate` goes red."""
        return self.characteristics(self.rate).red

    @property
    def misses(self) -> float:
        """How often a cell that passes with `broken` stays green."""
        return self.characteristics(self.broken).green

    @cached_property
    def _upper(self) -> float:
        return math.log((1.0 - self.beta) / self.alpha)

    @cached_property
    def _lower(self) -> float:
        return math.log(self.beta / (1.0 - self.alpha))

    @cached_property
    def _per_pass(self) -> float:
        return math.log(self.broken / self.rate)

    @cached_property
    def _per_failure(self) -> float:
        return math.log((1.0 - self.broken) / (1.0 - self.rate))
