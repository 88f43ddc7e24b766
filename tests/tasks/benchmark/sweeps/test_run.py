import csv

import pytest
from matplotlib.image import imread

from separator.cli.main import main
from separator.errors import UserError
from separator.tasks.benchmark.machine import machine
from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement
from separator.tasks.benchmark.processes import measure
from separator.tasks.benchmark.sweeps import run as sweeps
from separator.tasks.benchmark.sweeps.plan import COMPARISONS, SWEPT_SYSTEMS, Sweep, SweepPlan
from separator.tasks.benchmark.sweeps.run import run_sweeps

NAMES = [system.partition("@")[0] for systems in COMPARISONS.values() for system in systems]


@pytest.fixture
def measured(monkeypatch):
    """Cases in the order they were measured; times are made up, by a rule that the tables can be checked against."""
    cases = []

    def made_up(case):
        cases.append(case)
        spiking = case.layer is None and "snn" in case.system
        name, systems = case.system.partition("@")[0], dict.fromkeys((*SWEPT_SYSTEMS, *NAMES))
        elapsed = (1 + list(systems).index(name) if case.layer is None else 1 + 3 * ("dense" in name)) / 4
        kept = None if case.layer is None else elapsed / 2
        return Measurement(case, elapsed, 500.0, case.rate or 0.2 if spiking else None, True if spiking else None, kept)

    monkeypatch.setattr(sweeps, "measure_in_process", made_up)
    return cases


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(sweeps, "draw_sweep", lambda path, name, lines: path.touch())


def plan(*texts, threads=2, systems=SWEPT_SYSTEMS, **at):
    return SweepPlan(tuple(map(Sweep.parse, texts)), at, threads, systems)


def test_each_sweep_varies_one_thing(measured, undrawn, tmp_path):
    run_sweeps(plan("window=2,4", "rate=0.1,0.3", "width=32,64", "seconds=1,3", window=4, width=64), tmp_path, "the command")
    ours = [case for case in measured if case.system.startswith("paper-snn@")]
    assert ours == [
        BenchmarkCase("paper-snn@2", 4.0, 2, 64),
        BenchmarkCase("paper-snn@4", 4.0, 2, 64),
        BenchmarkCase("paper-snn@4", 4.0, 2, 64, rate=0.1),
        BenchmarkCase("paper-snn@4", 4.0, 2, 64, rate=0.3),
        BenchmarkCase("paper-snn@4", 4.0, 2, 32),
        BenchmarkCase("paper-snn@4", 1.0, 2, 64),
        BenchmarkCase("paper-snn@4", 3.0, 2, 64),
    ]
    # What several sweeps share is measured but once.
    assert len(set(measured)) == len(measured)
    analog = [case for case in measured if case.system == "paper-ann"]
    assert analog == [BenchmarkCase("paper-ann", *rest) for rest in ((4.0, 2, 64), (4.0, 2, 32), (1.0, 2, 64), (3.0, 2, 64))]


def test_tables_say_what_was_measured(measured, undrawn, tmp_path):
    text = run_sweeps(plan("window=2,4", "layer=small-ann"), tmp_path, "the command")
    assert (tmp_path / "BENCH.md").read_text() == text
    assert "```sh\nthe command\n```" in text
    assert machine() in text
    assert "| paper-snn | 3.00 (0.75) | 3.00 (0.75) |" in text
    assert "| paper-snn | 0.200 | 0.200 |" in text
    assert "| paper-ann | 500 | 500 |" in text
    assert "| 10 | 1 | 0.5 | 0.25 | 0.125 | 4.0 | 500 | 500 |" in text
    assert "| all | 11 | 5.5 | 2.75 | 1.38 | 4.0 | 500 | 500 |" in text
    assert [case.layer for case in measured if case.system == "dense:small-ann@32"] == list(range(11))
    with (tmp_path / "bench.csv").open() as file:
        rows = {(row["system"], row["layer"]): row for row in csv.DictReader(file)}
    assert rows["spikingjelly:paper-snn-pipelined@4", ""]["same_spikes"] == "True"
    assert rows["small-ann@32", "3"]["kept"] == "0.125"


def test_comparisons_have_all_systems_side_by_side(measured, undrawn, tmp_path):
    text = run_sweeps(plan("published=2,30", "shipped=2"), tmp_path, "the command")
    pipelined = "paper-snn-pipelined", "dense:paper-snn-pipelined", "spikingjelly:paper-snn-pipelined"
    spiking = [f"{name}@{steps}" for name in ("paper-snn", "dense:paper-snn", *pipelined) for steps in (4, 8, 32)]
    for seconds in (2, 30):
        for system in ("paper-ann", "bf16:paper-ann", "asteroid-convtasnet", *spiking):
            assert BenchmarkCase(system, seconds, 2) in measured
            assert f"| {system} | {seconds} | " in text
    assert BenchmarkCase("spikingjelly:small-snn-32@8", 2.0, 2) in measured
    assert "| paper-snn@8 | 30 | 0.75 | 0.0250 | 3.00 | 500 |" in text  # time, real-time factor, times the first, memory
    assert len(set(measured)) == len(measured)  # Asteroid's, which both compare, is measured but once


def test_a_picture_is_written_for_each_sweep(measured, tmp_path):
    run_sweeps(plan("width=16,32", "layer=small-ann"), tmp_path, "")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["layer.png", "width.png"]
    for name, inches in (("width", 10), ("layer", 8)):
        assert imread(tmp_path / f"{name}.png").shape[1] == 120 * inches


def test_rows_are_kept_unless_the_machine_is_another(measured, undrawn, tmp_path, monkeypatch):
    small = plan("window=2", systems=("paper-ann", "paper-snn"))
    text = run_sweeps(small, tmp_path, "")
    assert len(measured) == 2
    assert run_sweeps(small, tmp_path, "") == text
    assert len(measured) == 2
    run_sweeps(plan("window=2,4", systems=("paper-ann", "paper-snn")), tmp_path, "")
    assert [case.system for case in measured] == ["paper-ann", "paper-snn@2", "paper-snn@4"]
    monkeypatch.setattr(sweeps, "machine", lambda device: "another one")
    run_sweeps(small, tmp_path, "")
    assert [case.system for case in measured[3:]] == ["paper-ann", "paper-snn@2"]


def test_a_stopped_run_keeps_its_rows(measured, undrawn, tmp_path, monkeypatch):
    made_up = sweeps.measure_in_process

    def stop_at_the_third(case):
        if len(measured) == 2:
            raise KeyboardInterrupt
        return made_up(case)

    monkeypatch.setattr(sweeps, "measure_in_process", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_sweeps(plan("window=2,4"), tmp_path, "")
    monkeypatch.setattr(sweeps, "measure_in_process", made_up)
    run_sweeps(plan("window=2,4"), tmp_path, "")
    assert len(measured) == len(set(measured)) == 12


def test_command_line(tmp_path, capsys, monkeypatch):
    """Small networks, in this process."""
    monkeypatch.setattr(sweeps, "measure_in_process", lambda case: Measurement(case, **measure(case)))
    out = tmp_path / "new" / "folder"
    command = ["bench", "--sweep", "window=3", "--at", "width=8", "seconds=0.2", "--threads", "1", "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"separator {' '.join(command[:6])} --threads 1 --out {out}" in printed
    assert printed.count("1.00 (") == 1
    assert "equal to the bit: dense:paper-snn, dense:paper-snn-pipelined, spikingjelly:paper-snn-pipelined." in printed
    assert sorted(path.name for path in out.iterdir()) == ["BENCH.md", "bench.csv", "window.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--sweep", "depth"],
            "there is no sweep 'depth'; take published, shipped, window, rate, width, seconds, layer, train, steps",
        ),
        (["--sweep", "stage=small-ann"], "the sweep 'stage' is named 'layer' now"),
        (["--sweep", "window=4,x"], "window is a whole number, not 'x'"),
        (["--sweep", "window=33"], "a time window is 1 to 32 steps, not 33"),
        (["--sweep", "shipped=x"], "seconds is a number, not 'x'"),
        (["--sweep", "published=0"], "a length of sound is above 0 seconds, not 0"),
        (["--sweep", "seconds=0"], "a length of sound is above 0 seconds, not 0"),
        (["--sweep", "rate=nan"], "a firing rate is between 0 and 1, not nan"),
        (["--sweep", "width=-8"], "a width is at least 1, not -8"),
        (["--sweep", "layer=nothing"], "no model 'nothing'"),
        (["--sweep", "window", "--at", "depth=3"], "there is no 'depth' to set; take window, rate, width, seconds"),
        (["--sweep", "window", "--at", "seconds=-1"], "a length of sound is above 0 seconds, not -1"),
        (["--sweep", "window", "--seconds", "2"], "--at seconds=S"),
        (["--sweep", "window", "--systems", "small-snn"], "sweeps run networks with random weights"),
        (["--at", "window=3"], "--out and --at go with --sweep"),
    ],
)
def test_mistakes_are_one_line(options, message, tmp_path, capsys, measured):
    out = [] if options[0] == "--at" else ["--out", str(tmp_path / "out")]
    assert main(["bench", *options, *out]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not measured
    assert not (tmp_path / "out").exists()


def test_a_folder_is_needed_that_can_be_written(tmp_path, capsys, measured):
    assert main(["bench", "--sweep", "window"]) == 1
    assert "needs --out DIR" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["bench", "--sweep", "window", "--out", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.startswith(f"separator bench: error: cannot make the folder {tmp_path / 'file'}")
    assert not measured


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x"])
def test_no_sound_is_refused(seconds, capsys):
    with pytest.raises(SystemExit) as status:
        main(["bench", "--seconds", seconds])
    assert status.value.code == 2
    assert "--seconds" in capsys.readouterr().err


@pytest.mark.parametrize(("library", "extra"), [("matplotlib", "score"), ("spikingjelly", "compare"), ("asteroid", "train")])
def test_a_missing_library_is_told_before_anything_is_measured(library, extra, measured, undrawn, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "find_spec", lambda name: None if name == library else name)
    with pytest.raises(UserError, match=rf"{library}: pip install 'separator\[{extra}\]'"):
        run_sweeps(plan("window=2", "layer=small-ann"), tmp_path, "")
    assert not measured
    if library != "matplotlib":
        run_sweeps(plan("window=2", systems=("paper-ann",)), tmp_path, "")
        assert len(measured) == 1


def test_a_network_that_is_none_of_ours_cannot_be_swept():
    with pytest.raises(UserError, match="not asteroid-convtasnet"):
        plan("window", systems=("asteroid-convtasnet",))
