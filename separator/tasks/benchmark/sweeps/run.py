"""Run of sweeps: cases that are not in the record yet are measured, tables and pictures written after each sweep."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from separator.atomic import write_text
from separator.errors import UserError
from separator.tasks.benchmark.machine import machine
from separator.tasks.benchmark.measurement import BenchmarkCase, merge_turns
from separator.tasks.benchmark.processes import measure_in_process
from separator.tasks.benchmark.sweeps.pictures import draw_sweep
from separator.tasks.benchmark.sweeps.plan import TURNS, Curve, Sweep, SweepPlan
from separator.tasks.benchmark.sweeps.record import Record
from separator.tasks.benchmark.sweeps.settings import Settings
from separator.tasks.benchmark.sweeps.tables import sweep_tables
from separator.tasks.benchmark.systems import ASTEROID, parse_system
from separator.writer import sole_writer


def check_libraries(plan: SweepPlan) -> None:
    """Check that the libraries that a plan needs are installed, which would be missed after minutes.

    Raises:
        UserError: a library is missing.
    """
    extras = {"matplotlib": "score"}
    systems = {case.system for sweep in plan.sweeps if sweep.name != "steps" for case in _cases(plan, sweep)}
    if any(parse_system(system).backend == "spikingjelly" for system in systems):
        extras["spikingjelly"] = "compare"
    if ASTEROID in systems or any(sweep.name in ("layer", "train") for sweep in plan.sweeps):
        extras["asteroid"] = "train"
    for library, extra in extras.items():
        if find_spec(library) is None:
            raise UserError(f"this sweep needs the Python package {library}: pip install 'separator[{extra}]'")


def run_sweeps(plan: SweepPlan, folder: Path, command: str) -> str:
    """Measure what the table in `folder` does not have yet, write tables and plots anew after each sweep; returns the tables.

    `bench.csv` has a row for every case, kept as it comes; those of another machine or of other versions are measured again,
    and those that have turns until they have had all. `BENCH.md` has the tables, NAME.png the plot of each sweep.

    Args:
        plan: what to measure.
        folder: made if need be.
        command: that is to be found in BENCH.md.

    Raises:
        UserError: a library is missing, the folder cannot be written, or another process does, or a case cannot be measured.
    """
    check_libraries(plan)
    with sole_writer(folder):
        return _run_sweeps(plan, folder, command)


def _run_sweeps(plan: SweepPlan, folder: Path, command: str) -> str:
    today = machine(plan.device)
    record, text = Record(folder / "bench.csv", today), ""
    pending = _pending(plan, record)
    with tqdm(total=len(pending), unit="case", disable=None, leave=False) as bar:
        done: list[tuple[Sweep, Settings, list[Curve]]] = []
        for sweep in plan.sweeps:
            for case in (case for owner, case in pending if owner is sweep):
                bar.set_description(f"{sweep.name}: {case.system}")
                record.add(merge_turns(record.find(case), measure_in_process(case)))
                bar.update()
            curves = [
                Curve(system, tuple(cases), tuple(filter(None, map(record.find, cases.values()))))
                for system, cases in plan.cases(sweep)
            ]
            done.append((sweep, plan.settings(sweep), curves))
            draw_sweep(folder / f"{sweep.name}.png", sweep.name, curves)
            text = sweep_tables(done, today, plan.threads, command)
            write_text(folder / "BENCH.md", text)
    record.journal.finish()
    return text


def _pending(plan: SweepPlan, record: Record) -> list[tuple[Sweep, BenchmarkCase]]:
    """Cases to be measured, in order, each with its sweep: turn after turn; what several sweeps share, in the first of them."""
    pending: dict[tuple[BenchmarkCase, int], Sweep] = {}
    for sweep in plan.sweeps:
        for turn in range(TURNS.get(sweep.name, 1)):
            for case in _cases(plan, sweep):
                known = record.find(case)
                if known is None or known.turns <= turn:
                    pending.setdefault((case, turn), sweep)
    return [(sweep, case) for (case, _), sweep in pending.items()]


def _cases(plan: SweepPlan, sweep: Sweep) -> Iterator[BenchmarkCase]:
    for _, cases in plan.cases(sweep):
        yield from cases.values()
