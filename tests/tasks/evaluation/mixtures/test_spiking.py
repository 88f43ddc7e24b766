import csv

import numpy as np
import pytest
from matplotlib.image import imread

from separator.atomic import write_csv
from separator.metrics.table import Score, differences, summarise
from separator.tasks.evaluation.mixtures.spiking import draw_spiking, spiking_figure, spiking_rows, spiking_table

SCORES = [
    Score("open", system, mixture, (), {"si-sdri": value})
    for system, values in {"mixture": (0.0, 0.0), "ann": (6.0, 4.0), "aug": (5.5, 4.1), "files": (9.0, 9.5)}.items()
    for mixture, value in zip("ab", values, strict=True)
]
COSTS = {
    "window": 8,
    "latency_steps": 80,
    "spikes_per_second": 2.5e6,
    "spikes_per_neuron": 0.75,
    "synaptic_operations_per_second": 6e7,
    "synaptic_operations_per_mac": 0.5,
    "bits_per_spike": 4,
    "energy": [],
}


@pytest.fixture
def rows():
    compared = {"open": differences(SCORES, "aug", "ann")["open"]}
    return spiking_rows(summarise(SCORES), compared, {"open": {"aug": COSTS}}, {"aug": "ann"})


def test_a_row_tells_what_is_separated_and_what_it_costs(rows, tmp_path):
    assert [row["system"] for row in rows] == ["ann", "aug", "files"]
    ann, aug, files = rows
    assert (ann["si-sdri"], aug["si-sdri"], files["si-sdri"]) == (5.0, pytest.approx(4.8), 9.25)
    assert aug["difference"] == pytest.approx(-0.2) and aug["against"] == "ann"
    # Differences of -0.5 and 0.1 have a standard error of 0.3; Student's quantile of one degree of freedom is 12.706.
    assert aug["difference_error"] == pytest.approx(0.3 * 12.706, rel=1e-3)
    assert {name: aug[name] for name in COSTS if name != "energy"} == {k: v for k, v in COSTS.items() if k != "energy"}
    assert all(ann[name] is None and files[name] is None for name in (*COSTS, "difference", "against") if name != "energy")
    write_csv(tmp_path / "spikes.csv", rows)
    with (tmp_path / "spikes.csv").open(newline="") as file:
        assert [row["bits_per_spike"] for row in csv.DictReader(file)] == ["", "4", ""]


def test_the_table_is_for_people(rows):
    lines = spiking_table(rows).splitlines()
    assert lines[2] == "| Open | ann | - | - | 5.00 ± 12.71 | - | - | - | - | - | - | - |"
    assert lines[3] == "| Open | aug | 8 | 80 | 4.80 ± 8.89 | ann | -0.20 ± 3.81 | 2.50 | 0.750 | 60.0 | 0.500 | 4 |"


def test_spiking_systems_are_points_and_analog_ones_lines(rows, tmp_path):
    (axes,) = spiking_figure(rows).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ann", "files", "aug: 8 steps, 4 bits"]
    (point,) = axes.containers
    assert (list(point[0].get_xdata()), list(point[0].get_ydata())) == ([0.5], [pytest.approx(4.8)])
    assert [list(line.get_ydata()) for line in axes.lines if line.get_linestyle() == "--"] == [[5.0, 5.0], [9.25, 9.25]]
    draw_spiking(tmp_path / "spikes.png", rows)
    pixels = np.round(imread(tmp_path / "spikes.png")[..., :3] * 255).astype(int)
    assert (pixels == (255, 127, 14)).all(-1).sum() > 20  # the second of matplotlib's colours
