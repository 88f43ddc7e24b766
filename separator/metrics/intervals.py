"""Means and shares with their 95 % confidence intervals, and differences of two systems on the same items."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
UPPER = (1 + CONFIDENCE) / 2  # quantile at the upper end of an interval


@dataclass(frozen=True)
class Interval:
    """Measured value, and the ends between which the true one lies with 95 % confidence."""

    value: float
    low: float
    high: float

    @classmethod
    def around(cls, value: float, half: float) -> "Interval":
        """Interval of a value and half of its width."""
        return cls(value, value - half, value + half)

    @property
    def half(self) -> float:
        """Half of the width of the interval."""
        return (self.high - self.low) / 2

    def __mul__(self, factor: float) -> "Interval":
        return Interval(self.value * factor, self.low * factor, self.high * factor)


def share(hits: NDArray[np.bool_]) -> Interval:
    """Share of the items (N,) that are hits, with Wilson's score interval, which holds near 0 and 1 and for few items too."""
    from scipy.stats import binomtest  # which takes long to import

    found = binomtest(int(hits.sum()), len(hits)).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(hits.mean()), float(found.low), float(found.high))


def share_difference(hits: NDArray[np.bool_], baseline: NDArray[np.bool_]) -> Interval:
    """Share of hits less that of the baseline on the same items (N,), with the interval of Agresti and Min (2005).

    All depends on the items that only one of them hits. Half an item is added to each of the four kinds of items, since two
    systems that differ nowhere in a sample may still differ; the interval is cut to where differences can be.
    """
    gained, lost = int((hits & ~baseline).sum()), int((~hits & baseline).sum())
    items = len(hits) + 2
    difference = (gained - lost) / items
    half = float(ndtri(UPPER)) * math.sqrt(((gained + lost + 1) / items - difference**2) / items)
    return Interval((gained - lost) / len(hits), max(-1.0, difference - half), min(1.0, difference + half))


def mean(values: NDArray[np.float64]) -> Interval:
    """Mean of values (N,), with Student's interval; of a single value, the interval is unknown (NaN)."""
    count = len(values)
    half = float(stdtrit(count - 1, UPPER) * np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Interval.around(float(np.mean(values)), half)
