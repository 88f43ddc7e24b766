import math

import pytest

from separator.metrics.breakdown import breakdown_table, count_mixtures, swap_costs, swaps_table, with_error
from separator.metrics.table import Score, Statistic, summarise


def scores(condition, system, mixture, groups, plain, oracle):
    return [
        Score(condition, system, mixture, groups, {"si-sdri": a, "oracle-si-sdri": b})
        for a, b in zip(plain, oracle, strict=True)
    ]


SCORES = [
    *scores("open", "ann", "a", ("diff", "f-m", "pitch over 8"), (8.0, 10.0), (8.5, 10.5)),
    *scores("open", "ann", "b", ("same", "m-m", "pitch 0-2"), (1.0, 3.0), (4.0, 4.0)),
    *scores("open", "ann", "c", ("same", "m-m", "pitch 0-2"), (3.0, 5.0), (7.0, 6.0)),
    *scores("open", "ann", "d", (), (6.0, math.inf), (6.0, math.inf)),
    *scores("closed", "ann", "e", ("same", "f-f"), (2.0, 2.0), (2.0, 2.0)),
]


def test_mixtures_are_counted_once():
    assert count_mixtures(SCORES) == {
        "open": {"diff": 1, "f-m": 1, "pitch over 8": 1, "same": 2, "m-m": 2, "pitch 0-2": 2, "overall": 4},
        "closed": {"same": 1, "f-f": 1, "overall": 1},
    }


def test_swaps_cost_what_the_oracle_adds():
    costs = swap_costs(SCORES)["open"]["ann"]
    assert costs["pitch over 8"]["swaps"].mean == pytest.approx(0.5)
    assert costs["m-m"]["swaps"].mean == pytest.approx((3 + 1 + 4 + 1) / 4)
    assert costs["overall"]["swaps"].mean == pytest.approx((0.5 + 0.5 + 3 + 1 + 4 + 1 + 0) / 7)
    assert costs["overall"]["swaps"].failed == 1


def test_a_column_for_each_pair_and_band_that_there_is():
    assert breakdown_table(summarise(SCORES), count_mixtures(SCORES), "si-sdri").splitlines() == [
        "| Condition | System | f-f | f-m | m-m | pitch 0-2 | pitch over 8 | Overall |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        "| Open | (mixtures) | 0 | 1 | 2 | 2 | 1 | 4 |",
        # Means 2 and 4 have a standard error of 1; Student's quantile of one degree of freedom is 12.706, of three 3.182.
        "| Open | ann | - | 9.00 | 3.00 ± 12.71 | 3.00 ± 12.71 | 9.00 | 5.14 ± 4.75 |",
        "| Closed | (mixtures) | 1 | 0 | 0 | 0 | 0 | 1 |",
        "| Closed | ann | 2.00 | - | - | - | - | 2.00 |",
    ]


def test_overall_with_and_without_the_oracle():
    assert swaps_table(summarise(SCORES), swap_costs(SCORES)).splitlines() == [
        "| Condition | System | SI-SDRi (dB) | Oracle SI-SDRi (dB) | Cost of swaps (dB) |",
        "|---|---|---:|---:|---:|",
        "| Open | ann | 5.14 ± 4.75 | 6.57 ± 3.62 | 1.43 ± 1.89 |",
        "| Closed | ann | 2.00 | 2.00 | 0.00 |",
    ]


def test_what_is_not_known_is_a_dash():
    assert with_error(None) == with_error(Statistic(math.nan, math.nan, 0, 3)) == "-"
