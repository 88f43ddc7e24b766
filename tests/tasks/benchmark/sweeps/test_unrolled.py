"""Memory and time of learning through time against the number of steps."""

import csv
from dataclasses import replace

import pytest

from separator.cli.main import main
from separator.errors import UserError
from separator.models.tasnet import small
from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement
from separator.tasks.benchmark.sweeps import run as sweeps
from separator.tasks.benchmark.sweeps.pictures import sweep_figure
from separator.tasks.benchmark.sweeps.plan import Curve, Sweep, SweepPlan
from separator.tasks.benchmark.unrolled import lessons, timing
from separator.tasks.benchmark.unrolled.figures import unrolled_rows
from separator.tasks.benchmark.unrolled.lessons import count_neurons, make_lesson
from separator.tasks.benchmark.unrolled.timing import measure_unrolled
from separator.tasks.benchmark.unrolled.ways import WAYS, parse_trained

NETWORK = "c4-a4-12-10"


def curves():
    """A way each, of so many MB and s at 10 and 110 steps of 2 pictures."""
    taken = {
        "analog": (5, 5, 1, 1),
        "unrolled": (30, 230, 2, 20),
        "bits": (20, 21, 3, 30),
        "blocks": (20, 25, 4, 40),
        "tandem": (9, 9, 2, 4),
    }
    made = []
    for way, (least, most, fast, slow) in taken.items():
        results = [
            Measurement(BenchmarkCase(f"{way}:{NETWORK}@{n}", 0.0, 1, batch=2), seconds, 100.0, working=working)
            for n, seconds, working in ((10, fast, least), (110, slow, most))
        ]
        made.append(Curve(f"{way}:{NETWORK}", (10, 110), tuple(results)))
    return made


def test_tables_say_what_a_step_adds():
    (_, memory), (_, seconds) = unrolled_rows(curves(), 1000, 2)
    assert memory[0] == ["way", "10 steps", "110 steps", "MB a step", "bits a neuron and step"]
    assert memory[1] == ["analog", "5", "5", "", ""]
    assert memory[2] == ["unrolled", "30", "230", "1.0000", "8000.00"]
    assert memory[3] == ["bits", "20", "21", "0.0050", "40.00"]
    assert [row[-1] for row in seconds] == ["times unrolled", "0.05", "1.00", "1.50", "2.00", "0.20"]


def test_ways_are_drawn_side_by_side():
    memory, seconds = sweep_figure("steps", curves()).axes
    for axis, heights in ((memory, [[30, 230], [20, 21]]), (seconds, [[2, 20], [3, 30]])):
        lines = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
        assert list(lines) == list(WAYS.values())
        assert [lines[WAYS[way]] for way in ("unrolled", "bits")] == heights
        assert axis.get_xlabel() == "time steps" and axis.get_yscale() == "log"


def test_neurons_are_those_that_fire():
    assert count_neurons(NETWORK, 4.0) == 4 * 32 * 32 + 12
    assert count_neurons("small", 2.0) == 10 * 128 * small().frames(16000)  # all layers but the last
    with pytest.raises(UserError, match="no network c0 can be made"):
        count_neurons("c0", 1.0)


def test_a_plan_has_a_case_for_each_way_and_number_of_steps():
    plan = SweepPlan((Sweep.parse("steps=3,9"),), {"network": NETWORK, "batch": 4}, 1)
    cases = dict(plan.cases(plan.sweeps[0]))
    assert list(cases) == [f"{way}:{NETWORK}" for way in WAYS]
    assert cases[f"analog:{NETWORK}"][3] == cases[f"analog:{NETWORK}"][9]
    assert cases[f"bits:{NETWORK}"][9] == BenchmarkCase(f"bits:{NETWORK}@9", 0.0, 1, batch=4)
    assert parse_trained(cases[f"bits:{NETWORK}"][9].system) == ("bits", NETWORK, 9)
    for text, message in (("bits", "measured of"), ("by heart:x", "measured of"), ("bits:x@", "measured of")):
        with pytest.raises(UserError, match=message):
            parse_trained(text)
    with pytest.raises(UserError, match="at least 1 time step, not 0"):
        SweepPlan((Sweep.parse("steps=0,4"),), {}, 1)
    with pytest.raises(UserError, match="at least 1 item, not 0"):
        SweepPlan((Sweep.parse("steps"),), {"batch": 0}, 1)


def test_mixtures_have_a_length_and_pictures_have_none():
    for network, seconds in (("small", 1.5), (NETWORK, 0.0)):
        plan = SweepPlan((Sweep.parse("steps=3"),), {"network": network, "seconds": 1.5, "batch": 2}, 1)
        assert all(case.seconds == seconds for _, cases in plan.cases(plan.sweeps[0]) for case in cases.values())


@pytest.mark.parametrize("way", ["analog", "bits", "blocks", "tandem", "unrolled"])
def test_a_separator_learns_from_mixtures(way, monkeypatch):
    monkeypatch.setattr(timing, "MOST_ROUNDS", 1)
    monkeypatch.setattr(lessons, "network_sizes", lambda name: replace(small(), channels=8))
    lesson = make_lesson("small", 2, 0.25)
    assert lesson.network.config.channels == 8 and lesson.seen.shape[:2] == (2, 256)
    assert float(lesson.loss().detach()) == pytest.approx(0, abs=2)  # minus SI-SDR in dB: both estimates are half the mixture
    system = f"{way}:small" + ("" if way == "analog" else "@4")
    taken = measure_unrolled(BenchmarkCase(system, 0.25, 1, batch=2))
    assert min(taken["forward"], taken["backward"], taken["optimiser"]) > 0


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweeps, "measure_in_process", lambda case: Measurement(case, **measure_unrolled(case), memory=500.0))
    monkeypatch.setattr(timing, "MOST_ROUNDS", 1)
    sizes = ["--at", f"network={NETWORK}", "batch=2", "--threads", "1"]
    assert main(["bench", "--sweep", "steps=3,9", *sizes, "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "4,108 neurons that fire) on 2 pictures" in text and "![steps](steps.png)" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["BENCH.md", "bench.csv", "steps.png"]
    with (tmp_path / "bench.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1 + 4 * 2
    for row in rows:
        parts = [float(row[part]) for part in ("forward", "backward", "optimiser")]
        assert min(parts) > 0 and float(row["elapsed"]) == pytest.approx(sum(parts), rel=1e-4)
