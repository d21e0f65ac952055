"""Times and rates of past runs, and when a new one is worse: medians, which one odd run does not move."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Final

# The median distance to the median, times this, is the standard deviation of a normal distribution.
_MAD_TO_SIGMA: Final = 1.4826


@dataclass(frozen=True, slots=True)
class Measure:
    """What a cell takes, or reaches; `noise` is how much single runs spread, as a standard deviation."""

    median: float
    noise: float = 0.0

    @classmethod
    def of(cls, values: Sequence[float]) -> "Measure":
        """Of past runs, at least one."""
        middle = median(values)
        return cls(middle, _MAD_TO_SIGMA * median(abs(value - middle) for value in values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What difference is none: a share of the median, so many times the noise, or less than `floor`."""

    share: float
    sigmas: float
    floor: float

    def around(self, past: Measure) -> float:
        """The largest difference that is none."""
        return max(self.share * past.median, self.sigmas * past.noise, self.floor)


def lower_bound(passed: int, count: int, confidence: float = 0.95) -> float:
    """The pass rate that a cell has at least, by so many runs, with this confidence (Wilson's interval)."""
    z = NormalDist().inv_cdf(confidence)
    share = passed / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1.0 - share) / count + z * z / (4 * count * count))
    return (centre - spread) / (1.0 + z * z / count)
