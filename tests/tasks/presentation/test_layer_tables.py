from dataclasses import replace

import pytest

from separator.tasks.presentation.layer_tables import activation_rows, layer_table, progress_rows
from tests.tasks.reports import ACTIVATIONS, LAYERS, history


def test_layers_are_rows_with_the_range_of_their_thresholds():
    _, _, *rows = layer_table([*LAYERS, replace(LAYERS[1], turn=1)]).splitlines()
    agreed = "0.000 | 1.000 | 1.000 | 0.500 | 0.250 | 0.125 | 0.000 | 0.975 | 0.062"
    assert rows == [
        f"| 0 | encode | 0.2500 | 0.100 | {agreed} | 1.5000 | 2.5000 | 1.7500 | 3 | 12 |",
        f"| 1 | fire | 0.1250..0.5000 | 0.300 | {agreed} | 1.7500 | 2.7500 | 1.8750 | 2 | 10 |",
        "| 2 | readout | - | - | - | - | - | - | - | - | - | - | - | 1.8750 | 1.9375 | 1.9062 | 1 | 5 |",
        f"| 1 again | fire | 0.1250..0.5000 | 0.300 | {agreed} | 1.7500 | 2.7500 | 1.8750 | 2 | 10 |",
    ]


def test_the_head_fits_the_rows():
    head, rule, row = layer_table(LAYERS[:1]).splitlines()
    assert head.count("|") == rule.count("|") == row.count("|")


def test_epochs_are_counted_on_through_the_layers():
    rows = progress_rows(history("dev", "test"), "accuracy (%)")
    assert [row["epoch"] for row in rows] == [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 6]
    assert [row["layer_epoch"] for row in rows] == ["", 0, 1, 2] * 3
    assert rows[6] == {"epoch": 3, "layer": 1, "layer_epoch": 1, "dev_loss": 4, "dev_accuracy": 8, "test_accuracy": 12}


def test_activations_are_told_with_the_bounds_of_the_paper():
    first, silent = activation_rows(ACTIVATIONS)
    assert (first["layer"], first["neurons"], first["silent"], first["largest"]) == (0, 1000, "0.9000", "4")
    assert float(first["percentile 99"]) == pytest.approx(2, abs=0.001)  # 995 of 1000 do not exceed half of the largest
    assert float(first["percentile 99.9"]) == 4
    assert (silent["silent"], silent["percentile 99.9"], silent["largest"]) == ("1.0000", "0", "0")
