"""Memory and time of learning through time against the number of steps."""

import csv
from dataclasses import replace

import pytest

from separator.cli.main import main
from separator.errors import UserError
from separator.models.tasnet import small
from separator.snn.spikes.trains import LONGEST
from separator.tasks.benchmark.machine import machine
from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement
from separator.tasks.benchmark.sweeps import run as sweeps
from separator.tasks.benchmark.sweeps.pictures import sweep_figure
from separator.tasks.benchmark.sweeps.plan import Curve, Sweep, SweepPlan
from separator.tasks.benchmark.unrolled import lessons, timing
from separator.tasks.benchmark.unrolled.figures import unrolled_rows
from separator.tasks.benchmark.unrolled.lessons import count_neurons, make_lesson
from separator.tasks.benchmark.unrolled.timing import measure_unrolled
from separator.tasks.benchmark.unrolled.ways import WAYS, parse_way

NETWORK = "c4-a4-12-10"
PARTS = ("forward", "backward", "optimiser")


def curves():
    """A way each, of so many MB beyond what was held, 100 MB, and of so many s, at 10 and 110 steps of 2 pictures."""
    taken = {
        "analog": (5, 5, 1, 1),
        "unrolled": (30, 230, 2, 20),
        "bits": (20, 21, 3, 30),
        "blocks": (20, 25, 4, 40),
        "tandem": (9, 9, 2, 4),
        "analog-inference": (2, 2, 0.5, 0.5),
        "spiking-inference": (3, 13, 1, 5),
    }
    made = []
    for way, (least, most, fast, slow) in taken.items():
        results = [
            Measurement(BenchmarkCase(f"{way}:{NETWORK}@{n}", 0.0, 1, batch=2), seconds, 100.0 + working, working=working)
            for n, seconds, working in ((10, fast, least), (110, slow, most))
        ]
        made.append(Curve(f"{way}:{NETWORK}", (10, 110), tuple(results)))
    return made


@pytest.fixture
def measured(monkeypatch):
    """Cases in the order they were measured; times are made up, and nothing is drawn."""
    cases = []

    def made_up(case):
        cases.append(case)
        return Measurement(case, 1.0, 500.0, working=10.0)

    monkeypatch.setattr(sweeps, "measure_in_process", made_up)
    monkeypatch.setattr(sweeps, "draw_sweep", lambda path, name, lines: path.touch())
    return cases


def test_tables_say_what_a_step_adds():
    (_, memory), (_, seconds), (said, held), (_, times), *_ = unrolled_rows(curves(), 1000, 2)
    assert memory[0] == ["way", "10 steps", "110 steps", "MB a step", "bits a neuron and step"]
    assert memory[1] == ["analog", "5", "5", "", ""]
    assert memory[2] == ["unrolled", "30", "230", "1.0000", "8000.00"]
    assert memory[3] == ["bits", "20", "21", "0.0050", "40.00"]
    assert [row[-1] for row in seconds] == ["times unrolled", "0.05", "1.00", "1.50", "2.00", "0.20"]
    assert "inference" in said and held[1:] == [
        ["analog-inference", "2", "2", "", ""],
        ["spiking-inference", "3", "13", "0.0500", "400.00"],
    ]
    assert times[1:] == [["analog-inference", "0.5", "0.5", "1.00"], ["spiking-inference", "1", "5", "10.00"]]


def test_ways_are_drawn_side_by_side():
    memory, seconds = sweep_figure("steps", curves()).axes
    for axis, heights in ((memory, [[30, 230], [20, 21]]), (seconds, [[2, 20], [3, 30]])):
        lines = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
        assert list(lines) == [way.label for way in WAYS.values()]
        assert [lines[WAYS[way].label] for way in ("unrolled", "bits")] == heights
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
    for system in (f"analog:{NETWORK}", f"analog-inference:{NETWORK}"):
        assert cases[system][3] == cases[system][9] == BenchmarkCase(system, 0.0, 1, batch=4)
    assert cases[f"bits:{NETWORK}"][9] == BenchmarkCase(f"bits:{NETWORK}@9", 0.0, 1, batch=4)
    assert parse_way(cases[f"bits:{NETWORK}"][9].system) == ("bits", NETWORK, 9)
    for text, message in (("bits", "measured of"), ("by heart:x", "measured of"), ("bits:x@", "measured of")):
        with pytest.raises(UserError, match=message):
            parse_way(text)
    with pytest.raises(UserError, match="at least 1 time step, not 0"):
        SweepPlan((Sweep.parse("steps=0,4"),), {}, 1)
    with pytest.raises(UserError, match="at least 1 item, not 0"):
        SweepPlan((Sweep.parse("steps"),), {"batch": 0}, 1)


def test_a_way_has_no_case_of_more_steps_than_it_can_take(tmp_path, measured):
    assert WAYS["tandem"].most == LONGEST
    with pytest.raises(UserError, match="at most 32 steps, not 33"):
        measure_unrolled(BenchmarkCase(f"tandem:{NETWORK}@33", 0.0, 1, batch=2))
    text = sweeps.run_sweeps(SweepPlan((Sweep.parse("steps=32,33"),), {"network": NETWORK}, 1), tmp_path, "")
    assert f"tandem:{NETWORK}@32" in {case.system for case in measured}
    assert "| tandem | 10 |  |  |  |" in text and "| tandem | 1 |  | 1.00 |" in text
    assert not any("@33" in case.system for case in measured if "tandem" in case.system)
    beyond = SweepPlan((Sweep.parse("steps=33"),), {"network": NETWORK}, 1)
    assert {parse_way(system).way for system, _ in beyond.cases(beyond.sweeps[0])} == {*WAYS} - {"tandem"}
    assert "| tandem |" not in sweeps.run_sweeps(beyond, tmp_path, "")


def test_mixtures_have_a_length_and_pictures_have_none():
    for network, seconds in (("small", 1.5), (NETWORK, 0.0)):
        plan = SweepPlan((Sweep.parse("steps=3"),), {"network": network, "seconds": 1.5, "batch": 2}, 1)
        assert all(case.seconds == seconds for _, cases in plan.cases(plan.sweeps[0]) for case in cases.values())


@pytest.mark.parametrize("way", WAYS)
def test_a_separator_learns_from_mixtures_and_separates_them(way, monkeypatch):
    monkeypatch.setattr(timing, "MOST_ROUNDS", 1)
    monkeypatch.setattr(lessons, "network_sizes", lambda name: replace(small(), channels=8))
    lesson = make_lesson("small", 2, 0.25)
    assert lesson.network.config.channels == 8 and lesson.seen.shape[:2] == (2, 256)
    assert lesson.items.shape == (2, 2000)
    loss = float(lesson.loss(lesson.network(lesson.items)).detach())
    assert loss == pytest.approx(0, abs=2)  # minus SI-SDR in dB: both estimates are half the mixture
    system = f"{way}:small" + ("@4" if WAYS[way].spikes else "")
    taken = measure_unrolled(BenchmarkCase(system, 0.25, 1, batch=2))
    assert all(taken[part] > 0 for part in PARTS[: 1 if WAYS[way].infers else 3])


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
    assert len(rows) == 2 + 5 * 2
    for row in rows:
        parts = [float(row[part]) for part in PARTS if row[part]]
        assert len(parts) == (1 if "inference" in row["system"] else 3) and row["device"] == ""
        assert min(parts) > 0 and float(row["elapsed"]) == pytest.approx(sum(parts), rel=1e-4)


def test_tables_of_former_versions_are_gone_on_with_and_others_refused(tmp_path, measured):
    plan = SweepPlan((Sweep.parse("steps=3"),), {"network": NETWORK, "batch": 2}, 1)
    table = tmp_path / "bench.csv"
    columns = "system,seconds,threads,width,rate,layer,batch,firing_rate,same_spikes,elapsed,kept,forward,backward,optimiser"
    columns += ",mixing,varied,memory,working,turns,machine"  # as they were before networks learned on a GPU
    table.write_text(f'{columns}\nanalog:{NETWORK},0,1,,,,2,,,7.5,,1,2,4.5,,,500,10,1,"{machine()}"\n')
    sweeps.run_sweeps(plan, tmp_path, "")
    assert [case.system.partition(":")[0] for case in measured] == [way for way in WAYS if way != "analog"]
    with table.open(newline="") as file:
        found = {row["system"]: row["elapsed"] for row in csv.DictReader(file)}
    assert found[f"analog:{NETWORK}"] == "7.5" and len(found) == len(WAYS)
    table.write_text(columns.replace("batch", "items") + "\n")
    with pytest.raises(UserError, match="not a table of this command"):
        sweeps.run_sweeps(plan, tmp_path, "")


def test_rows_of_a_gpu_stand_beside_those_of_the_cpu(tmp_path, measured, monkeypatch):
    monkeypatch.setattr("separator.tasks.devices.resolve_device", lambda name: "cuda" if name == "auto" else name)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"a GPU named {device}")
    texts = []
    for device in ("cpu", "cuda", "auto", "cpu"):
        plan = SweepPlan((Sweep.parse("steps=3"),), {"network": NETWORK, "batch": 2, "device": device}, 1)
        texts.append(sweeps.run_sweeps(plan, tmp_path, ""))
    assert [case.device for case in measured] == [None] * len(WAYS) + ["cuda"] * len(WAYS)
    assert texts[0] == texts[3] and "on the CPU" in texts[0] and "a GPU named" not in texts[0]
    assert texts[1] == texts[2] and "on cuda" in texts[1] and "a GPU named cuda" in texts[1]


def test_a_device_that_is_not_there_or_not_used_is_one_line(tmp_path, capsys, monkeypatch):
    def told(*options):
        assert main(["bench", "--sweep", *options, "--out", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and not (tmp_path / "out").exists()
        return error

    assert "no device 'cuda:77' here; take cpu, cuda or auto" in told("steps", "--at", "device=cuda:77")
    assert "no device 'gpu' here" in told("steps", "--at", "device=gpu")
    monkeypatch.setattr("separator.tasks.devices.resolve_device", lambda name: name)
    assert "measured on cpu and cuda, not on mps" in told("steps", "--at", "device=mps")
    assert "the sweep 'window' runs on the CPU" in told("steps", "window", "--at", "device=cuda")
