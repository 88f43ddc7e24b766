import math
import statistics

import pytest
from scipy.stats import t as student

from separator.metrics.table import (
    Score,
    Statistic,
    differences,
    differences_table,
    failures,
    markdown_table,
    statistic,
    summarise,
)

SCORES = [
    Score("closed", "ann", "a", ("diff",), {"si-sdr": 10.0, "pesq": 3.0}),
    Score("closed", "ann", "a", ("diff",), {"si-sdr": 12.0, "pesq": math.nan}),
    Score("closed", "ann", "b", ("same",), {"si-sdr": 4.0, "pesq": 2.0}),
    Score("closed", "snn", "a", ("diff",), {"si-sdr": 9.0, "pesq": 2.5}),
    Score("closed", "snn", "a", ("diff",), {"si-sdr": 11.5, "pesq": 2.5}),
    Score("closed", "snn", "b", ("same",), {"si-sdr": 4.0, "pesq": 2.0}),
    Score("open", "ann", "c", (), {"si-sdr": -math.inf, "pesq": math.nan}),
]


def test_means_by_gender_and_over_all():
    cells = summarise(SCORES)["closed"]["ann"]
    assert {group: metrics["si-sdr"].mean for group, metrics in cells.items()} == {"diff": 11, "same": 4, "overall": 26 / 3}
    assert cells["overall"]["pesq"] == Statistic(2.5, pytest.approx(student.ppf(0.975, 1) * 0.5), 2, 1)


def test_a_confidence_interval_counts_mixtures_not_sources():
    values = {"a": [1.0, 3.0], "b": [5.0, 7.0], "c": [9.0, 9.0]}
    means = [statistics.mean(pair) for pair in values.values()]
    expected = student.ppf(0.975, 2) * statistics.stdev(means) / math.sqrt(3)
    assert statistic([(name, value) for name, pair in values.items() for value in pair]).error == pytest.approx(expected)
    assert math.isnan(statistic([("a", 1.0), ("a", 2.0)]).error)


def test_what_cannot_be_measured_has_no_mean_and_is_told():
    summary = summarise(SCORES)
    lost = summary["open"]["ann"]["overall"]["si-sdr"]
    assert math.isnan(lost.mean)
    assert (lost.count, lost.failed) == (0, 1)
    assert [line.split(":")[0] for line in failures(summary)] == [
        "PESQ of ann (closed)",
        "SI-SDR of ann (open)",
        "PESQ of ann (open)",
    ]
    assert "1 of 3 sources" in failures(summary)[0]


def test_differences_are_paired_source_by_source():
    cells = differences([score for score in SCORES if score.condition == "closed"], "snn", "ann")["closed"]["snn - ann"]
    assert cells["overall"]["si-sdr"].mean == pytest.approx((-1 - 0.5 + 0) / 3)
    assert (cells["overall"]["pesq"].mean, cells["overall"]["pesq"].failed) == (pytest.approx(-0.25), 1)
    assert "| Closed | snn - ann | -0.50 ± 4.76 |" in differences_table({"closed": {"snn - ann": cells}}, ["si-sdr"])


def test_table_4_layout():
    assert markdown_table(summarise(SCORES), ["si-sdr", "pesq"]).splitlines() == [
        "| Condition | System | SI-SDR (dB) Diff. | SI-SDR (dB) Same | SI-SDR (dB) Overall "
        "| PESQ Diff. | PESQ Same | PESQ Overall |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        "| Closed | ann | 11.00 | 4.00 | 8.67 | 3.00 | 2.00 | 2.50 |",
        "| Closed | snn | 10.25 | 4.00 | 8.17 | 2.50 | 2.00 | 2.33 |",
        "| Open | ann | - | - | - | - | - | - |",
    ]


def test_gender_columns_are_left_out_where_no_gender_is_known():
    table = markdown_table(summarise(SCORES[-1:]), ["si-sdr"])
    assert table.splitlines()[0] == "| Condition | System | SI-SDR (dB) Overall |"
