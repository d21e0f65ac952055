"""The sequential test: its error rates are computed, measured, and what the policy promises."""

import math
import random

import pytest

from interop.gate.measures import Measure, Tolerance, lower_bound
from interop.gate.policy import default_broken
from interop.gate.sequential import Outcome, SequentialTest

USUAL = SequentialTest(rate=0.95, broken=0.5)


def simulate(test: SequentialTest, true_rate: float, source: random.Random) -> tuple[Outcome, int]:
    """One cell, run round by round until it is decided."""
    passed = failed = 0
    while count := test.more(passed, failed):
        good = sum(source.random() < true_rate for _ in range(count))
        passed, failed = passed + good, failed + count - good
    return test.decide(passed, failed), passed + failed


def test_what_is_clear_takes_few_repetitions() -> None:
    assert USUAL.decide(0, 2) is Outcome.RED
    assert USUAL.decide(8, 0) is Outcome.GREEN
    assert USUAL.decide(7, 0) is Outcome.UNDECIDED
    assert USUAL.decide(0, 1) is Outcome.UNDECIDED
    assert USUAL.more(0, 0) == 2
    assert USUAL.more(7, 0) == 1
    assert USUAL.more(0, 1) == 1
    assert USUAL.more(8, 0) == USUAL.more(0, 2) == 0


def test_one_failure_of_a_sound_cell_takes_more() -> None:
    """A single failure neither makes it red nor is forgotten."""
    assert USUAL.decide(8, 1) is Outcome.UNDECIDED
    assert USUAL.decide(10, 1) is Outcome.UNDECIDED
    assert USUAL.decide(11, 1) is Outcome.GREEN


def test_evidence_is_the_ratio_of_the_likelihoods() -> None:
    expected = math.log(0.5**3 * 0.5**2 / (0.95**3 * 0.05**2))
    assert USUAL.evidence(3, 2) == pytest.approx(expected)


def test_a_95_percent_cell_stays_green_and_one_that_fell_to_50_goes_red() -> None:
    """The issue's promise, exactly: at most 1 % of wrong decisions either way."""
    assert USUAL.characteristics(0.95).green >= 0.99
    assert USUAL.characteristics(0.5).red >= 0.99
    assert USUAL.false_alarms <= 0.01
    assert USUAL.misses <= 0.01


def test_better_and_worse_cells_are_clearer() -> None:
    found = [USUAL.characteristics(rate) for rate in (0.2, 0.5, 0.8, 0.95, 0.99)]
    assert [each.red for each in found] == sorted((each.red for each in found), reverse=True)
    assert found[-1].green > 0.999
    assert found[0].red > 0.9999
    assert max(found, key=lambda each: each.repetitions) is found[2], "between the two it takes longest"


@pytest.mark.parametrize("rate", [0.9999, 0.99, 0.95, 0.9, 0.8, 0.6])
@pytest.mark.parametrize("error", [0.01, 0.05])
def test_rates_of_error_hold_for_other_policies(rate: float, error: float) -> None:
    """Wald: the true rates are at most alpha / (1 - beta) and beta / (1 - alpha); the bound is far away."""
    test = SequentialTest(
        rate=rate, broken=default_broken(rate), alpha=error, beta=error, max_repetitions=1000
    )
    assert test.false_alarms <= error / (1.0 - error) + 1e-9
    assert test.misses <= error / (1.0 - error) + 1e-9


@pytest.mark.parametrize("true_rate", [0.5, 0.7, 0.95])
def test_computed_characteristics_are_those_of_simulated_cells(true_rate: float) -> None:
    source = random.Random(f"gate {true_rate}")
    runs = 4000
    ends = [simulate(USUAL, true_rate, source) for _ in range(runs)]
    exact = USUAL.characteristics(true_rate)
    red = sum(outcome is Outcome.RED for outcome, _ in ends) / runs
    deviation = math.sqrt(exact.red * exact.green / runs)
    assert abs(red - exact.red) <= 4 * deviation + 1e-9
    assert sum(count for _, count in ends) / runs == pytest.approx(exact.repetitions, rel=0.05)
    assert exact.red + exact.green == pytest.approx(1.0)


def test_it_ends_at_its_bound_with_what_is_likelier() -> None:
    short = SequentialTest(rate=0.95, broken=0.5, max_repetitions=4)
    assert short.decide(4, 0) is Outcome.GREEN
    assert short.decide(3, 1) is Outcome.RED
    assert short.more(3, 0) == 1
    assert short.misses > 0.01, "a bound that is too near costs certainty, and says so"


@pytest.mark.parametrize(("rate", "broken"), [(0.5, 0.5), (0.5, 0.9), (1.0, 0.5), (0.5, 0.0)])
def test_hypotheses_that_make_no_sense(rate: float, broken: float) -> None:
    with pytest.raises(ValueError, match="0 < broken < rate < 1 is needed"):
        SequentialTest(rate=rate, broken=broken)


def test_a_measure_is_not_moved_by_one_odd_run() -> None:
    measure = Measure.of([2.0, 2.1, 1.9, 2.0, 60.0])
    assert measure.median == 2.0
    assert measure.noise == pytest.approx(0.14826)
    assert Measure.of([3.0]) == Measure(3.0, 0.0)


def test_noise_of_normal_runs_is_their_deviation() -> None:
    source = random.Random(7)
    assert Measure.of([source.gauss(10.0, 0.5) for _ in range(4000)]).noise == pytest.approx(0.5, rel=0.06)


def test_a_tolerance_is_the_widest_of_three() -> None:
    tolerance = Tolerance(share=0.1, sigmas=3.0, floor=1.0)
    assert tolerance.around(Measure(5.0, 0.1)) == 1.0
    assert tolerance.around(Measure(50.0, 0.1)) == 5.0
    assert tolerance.around(Measure(50.0, 4.0)) == 12.0


def test_lower_bounds() -> None:
    """Of Wilson's interval, one-sided; the second by hand: z = 1.6449, 19 of 20."""
    assert lower_bound(20, 20) == pytest.approx(20 / (20 + 1.6449**2), abs=1e-4)
    assert lower_bound(19, 20) == pytest.approx(0.8037, abs=1e-3)
    assert lower_bound(950, 1000) > 0.93
    assert lower_bound(0, 5) == pytest.approx(0.0)
