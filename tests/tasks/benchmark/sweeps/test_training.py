import csv
from pathlib import Path

import pytest

from separator.cli.main import main
from separator.errors import UserError
from separator.tasks import devices
from separator.tasks.benchmark.machine import machine
from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement, merge_turns
from separator.tasks.benchmark.processes import measure
from separator.tasks.benchmark.sweeps import run as sweeps
from separator.tasks.benchmark.sweeps.plan import Sweep, SweepPlan
from separator.tasks.benchmark.sweeps.run import run_sweeps
from separator.tasks.benchmark.training import timing
from separator.tasks.benchmark.training.figures import waiting_beside_steps, waiting_between_steps

PUBLISHED = Path(__file__).parents[4] / "recipes" / "open-2mix" / "results" / "bench" / "bench.csv"


@pytest.fixture(autouse=True)
def native(monkeypatch):
    """A processor that multiplies bfloat16."""
    monkeypatch.setattr(devices, "native_precision", lambda accelerator: "bf16-mixed")


@pytest.fixture
def measured(monkeypatch):
    """Cases in the order they were measured; times are made up, shorter at every turn but the last."""
    cases = []

    def made_up(case):
        cases.append(case)
        turn = cases.count(case)
        step = (4.0, 2.0, 8.0)[turn - 1] / case.threads / (2 if case.system.startswith("bf16") else 1)
        parts = {"forward": 0.25 * step, "backward": 0.625 * step, "optimiser": 0.125 * step}
        return Measurement(case, step, 1000.0 * turn, **parts, mixing=0.1 * turn, varied=(3.0, 0.5, 4.0)[turn - 1])

    monkeypatch.setattr(sweeps, "measure_in_process", made_up)
    return cases


def plan(*texts, threads=2, **at):
    return SweepPlan(tuple(map(Sweep.parse, texts)), at, threads)


SMALL = [BenchmarkCase(system, 2.0, threads, batch=8) for system in ("small", "bf16:small") for threads in (1, 2)]
MEDIUM = [BenchmarkCase(system, 3.0, threads, batch=8) for system in ("medium", "bf16:medium") for threads in (1, 2)]


def test_networks_take_turns_in_both_precisions_on_one_and_all_threads(measured, tmp_path):
    run_sweeps(plan("train=small,medium"), tmp_path, "")
    assert measured == 3 * (SMALL + MEDIUM)


def test_sizes_can_be_others(measured, tmp_path):
    run_sweeps(plan("train=bf16:paper", threads=1, seconds=0.5, width=16), tmp_path, "")
    assert measured == 3 * [BenchmarkCase("bf16:paper", 0.5, 1, 16, batch=16)]


def test_tables_say_what_was_measured(measured, tmp_path):
    text = run_sweeps(plan("train=small,bf16:small"), tmp_path, "the command")
    assert (tmp_path / "BENCH.md").read_text() == text
    assert "3 each" in text
    # 16 s of mixtures in a step; the second turn was the fastest, of mixing plainly the first.
    assert "| small | 32-true | 1 | 8 of 2 s | 2 | 8 | 25.0% | 62.5% | 12.5% | 3000 |" in text
    assert "| small | bf16-mixed | 2 | 8 of 2 s | 0.5 | 32 | 25.0% | 62.5% | 12.5% | 3000 |" in text
    assert "| small | 32-true | 1 | 160 / 32 | 4.8% / 20.0% | 0.0% / 0.0% |" in text
    assert "| small | bf16-mixed | 2 | 160 / 32 | 16.7% / 50.0% | 0.0% / 0.0% |" in text
    with (tmp_path / "bench.csv").open() as file:
        rows = {(row["system"], row["threads"]): row for row in csv.DictReader(file)}
    assert len(rows) == 4
    expected = {"batch": "8", "elapsed": "1", "backward": "0.625", "mixing": "0.1", "varied": "0.5", "turns": "3", "kept": ""}
    assert {name: rows["small", "2"][name] for name in expected} == expected


@pytest.mark.parametrize(("making", "step"), [(1.0, 4.0), (6.0, 2.0), (3.0, 3.0)])
def test_waiting_is_that_of_a_long_training(making, step):
    """Played step by step: a worker begins a batch when the one before it is taken."""
    steps, clock, ready = 1000, 0.0, making
    for _ in range(steps):
        taken = max(clock, ready)
        clock, ready = taken + step, max(clock, ready) + making
    assert waiting_beside_steps(making, step) == pytest.approx(1 - steps * step / clock, abs=0.005)
    assert waiting_between_steps(making, step) == pytest.approx(1 - steps * step / (steps * (making + step)))


def test_a_stopped_run_goes_on_in_the_turn_it_was_in(measured, tmp_path, monkeypatch):
    made_up = sweeps.measure_in_process

    def stop_at_the_seventh(case):
        if len(measured) == 6:
            raise KeyboardInterrupt
        return made_up(case)

    monkeypatch.setattr(sweeps, "measure_in_process", stop_at_the_seventh)
    with pytest.raises(KeyboardInterrupt):
        run_sweeps(plan("train=small"), tmp_path, "")
    monkeypatch.setattr(sweeps, "measure_in_process", made_up)
    text = run_sweeps(plan("train=small"), tmp_path, "")
    assert measured == 3 * SMALL
    assert run_sweeps(plan("train=small"), tmp_path, "") == text
    assert len(measured) == 12


def test_the_fastest_round_of_all_turns_counts_with_its_parts():
    case = SMALL[0]
    first = Measurement(case, 2.0, 100.0, forward=0.5, backward=1.0, optimiser=0.5, mixing=0.2, varied=0.3)
    second = Measurement(case, 1.0, 90.0, forward=0.6, backward=0.3, optimiser=0.1, mixing=0.3, varied=0.1)
    assert merge_turns(None, first) is first
    both = Measurement(case, 1.0, 100.0, forward=0.6, backward=0.3, optimiser=0.1, mixing=0.2, varied=0.1, turns=2)
    assert merge_turns(first, second) == merge_turns(second, first) == both


def test_tables_of_former_versions_are_read(measured, tmp_path, monkeypatch):
    with PUBLISHED.open() as file:
        old = next(row for row in csv.DictReader(file) if row["system"] == "paper-ann" and row["width"] == "512")
    monkeypatch.setattr(sweeps, "machine", lambda device: old["machine"])
    (tmp_path / "bench.csv").write_bytes(PUBLISHED.read_bytes())
    only = SweepPlan((Sweep.parse("seconds=4"), Sweep.parse("train=small")), {}, 2, ("paper-ann",))
    text = run_sweeps(only, tmp_path, "")
    assert set(measured) == set(SMALL)
    with (tmp_path / "bench.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["layer"] for row in rows} == {"", *map(str, range(11))}  # which were named stages
    kept = next(row for row in rows if row["system"] == "paper-ann" and row["width"] == "512" and row["seconds"] == "4")
    assert f"| paper-ann | 1.00 ({float(kept['elapsed']):.3g}) |" in text
    assert len(rows) == len(PUBLISHED.read_text().splitlines()) - 1 + len(SMALL)


def test_command_line(tmp_path, capsys, monkeypatch):
    """A small network, in this process."""
    monkeypatch.setattr(sweeps, "measure_in_process", lambda case: Measurement(case, **measure(case)))
    monkeypatch.setattr(timing, "ROUNDS", 2)
    out = tmp_path / "out"
    command = ["bench", "--sweep", "train=small", "--at", "width=8", "seconds=0.1", "--threads", "1", "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert machine() in printed
    assert "| small | bf16-mixed | 1 | 8 of 0.1 s |" in printed
    assert sorted(path.name for path in out.iterdir()) == ["BENCH.md", "bench.csv", "train.png"]


def test_a_missing_library_is_told_beforehand(measured, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "find_spec", lambda name: None if name == "asteroid" else name)
    with pytest.raises(UserError, match=r"asteroid: pip install 'separator\[train\]'"):
        run_sweeps(plan("train=small"), tmp_path, "")
    assert not measured


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--sweep", "train=small-ann"],
            "training is timed of small, medium, paper, each also as bf16:NAME, not of 'small-ann'",
        ),
        (["--sweep", "train=dense:small"], "not of 'dense:small'"),
        (["--sweep", "train=small", "--at", "seconds=0"], "a length of sound is above 0 seconds, not 0"),
        (["--sweep", "train=small", "--at", "width=0"], "a width is at least 1, not 0"),
    ],
)
def test_mistakes_are_one_line(options, message, tmp_path, capsys, measured):
    assert main(["bench", *options, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not measured
