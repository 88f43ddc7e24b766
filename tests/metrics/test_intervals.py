import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from separator.metrics.intervals import Interval, mean, share, share_difference

Z = statistics.NormalDist().inv_cdf(0.975)


def hits(*counts):
    """Two systems' hits, from how many items both hit, only the first, only the second, neither."""
    pairs = [(True, True), (True, False), (False, True), (False, False)]
    items = [pair for pair, count in zip(pairs, counts, strict=True) for _ in range(count)]
    first, second = np.array(items, bool).T
    return first, second


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_shares_lie_where_wilson_says(case):
    """Its ends are the shares p from which k / n lies just Z standard deviations away."""
    k, n = case
    found = share(np.arange(n) < k)
    assert found.value == pytest.approx(k / n)
    for end in (found.low, found.high):
        assert abs(k / n - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / n), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0


def test_difference_in_a_published_table():
    """Approval of a prime minister, 1,600 people asked twice (Agresti, Categorical Data Analysis, 2002, Table 10.1)."""
    found = share_difference(*hits(794, 150, 86, 570))
    assert found.value == pytest.approx(64 / 1600)
    assert (round(found.low, 3), round(found.high, 3)) == (0.021, 0.059)


@given(*[st.integers(0, 30)] * 3, st.integers(1, 30))
def test_differences_are_of_the_shares_and_their_intervals_turn_with_them(both, only, other, neither):
    first, second = hits(both, only, other, neither)
    found, turned = share_difference(first, second), share_difference(second, first)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.low == pytest.approx(-turned.high) and found.high == pytest.approx(-turned.low)
    assert -1 <= found.low < found.high <= 1
    assert only != other or found.low < 0 < found.high


def test_intervals_of_differences_hold_as_often_as_they_say():
    draw, held = np.random.default_rng(0), 0
    for _ in range(1000):
        first, second = hits(*draw.multinomial(300, [0.85, 0.05, 0.02, 0.08]))
        found = share_difference(first, second)
        held += found.low <= 0.03 <= found.high
    assert 930 <= held <= 980


@pytest.mark.parametrize(("count", "quantile"), [(5, 2.776445), (50, 2.009575), (100_000, Z)])  # from a printed table
def test_means(count, quantile):
    values = np.random.default_rng(1).exponential(size=count)
    half = quantile * statistics.stdev(values) / math.sqrt(count)
    found = mean(values)
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), values.mean() - half, values.mean() + half))
    assert mean(values[:1]).value == values[0] and math.isnan(mean(values[:1]).low)


def test_percentages():
    assert Interval(0.5, 0.25, 1.0) * 100 == Interval(50, 25, 100)
