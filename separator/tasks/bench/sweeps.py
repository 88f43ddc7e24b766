"""Sweeps: cost against time window, firing rate, width, length of sound and layer of conversion; systems and trainings."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from separator.atomic import write_text
from separator.errors import UserError
from separator.tasks.bench.benchmark import measured_apart
from separator.tasks.bench.machine import machine
from separator.tasks.bench.measurement import Case, quicker
from separator.tasks.bench.pictures import draw_sweep
from separator.tasks.bench.plan import TURNS, Line, Plan, Point, Sweep
from separator.tasks.bench.record import Record
from separator.tasks.bench.systems import ASTEROID, parse_system
from separator.tasks.bench.tables import to_markdown


def check_libraries(plan: Plan) -> None:
    """Say beforehand what would be missing after minutes.

    Raises:
        UserError: a library is missing.
    """
    extras = {"matplotlib": "score"}
    systems = {case.system for sweep in plan.sweeps for case in _cases(plan, sweep)}
    if any(parse_system(system).hands == "spikingjelly" for system in systems):
        extras["spikingjelly"] = "compare"
    if ASTEROID in systems or any(sweep.name in ("layer", "train") for sweep in plan.sweeps):
        extras["asteroid"] = "train"
    for library, extra in extras.items():
        if find_spec(library) is None:
            raise UserError(f"this sweep needs the Python package {library}: pip install 'separator[{extra}]'")


def run_sweeps(plan: Plan, folder: Path, command: str) -> str:
    """Measure what the table in `folder` does not have yet, write tables and plots anew after each sweep; returns the tables.

    `bench.csv` has a row for every case, kept as it comes; those of another machine or of other versions are measured again,
    and those that have turns until they have had all. `BENCH.md` has the tables, NAME.png the plot of each sweep.

    Args:
        plan: what to measure.
        folder: made if need be.
        command: that is to be found in BENCH.md.

    Raises:
        UserError: a library is missing, the folder cannot be written, or a case cannot be measured.
    """
    check_libraries(plan)
    today = machine()
    record, text = Record(folder / "bench.csv", today), ""
    visits = _visits(plan, record)
    with tqdm(total=len(visits), unit="case", disable=None, leave=False) as bar:
        done: list[tuple[Sweep, Point, list[Line]]] = []
        for sweep in plan.sweeps:
            for case in (case for owner, case in visits if owner is sweep):
                bar.set_description(f"{sweep.name}: {case.system}")
                record.add(quicker(record.find(case), measured_apart(case)))
                bar.update()
            lines = [
                Line(system, tuple(cases), tuple(filter(None, map(record.find, cases.values()))))
                for system, cases in plan.lines(sweep)
            ]
            done.append((sweep, plan.point(sweep), lines))
            draw_sweep(folder / f"{sweep.name}.png", sweep.name, lines)
            text = to_markdown(done, today, plan.threads, command)
            write_text(folder / "BENCH.md", text)
    record.journal.finish()
    return text


def _visits(plan: Plan, record: Record) -> list[tuple[Sweep, Case]]:
    """What is still to be measured, in this order: turn after turn in each sweep; what several sweeps share, in the first."""
    visits: dict[tuple[Case, int], Sweep] = {}
    for sweep in plan.sweeps:
        for turn in range(TURNS.get(sweep.name, 1)):
            for case in _cases(plan, sweep):
                known = record.find(case)
                if known is None or known.turns <= turn:
                    visits.setdefault((case, turn), sweep)
    return [(sweep, case) for (case, _), sweep in visits.items()]


def _cases(plan: Plan, sweep: Sweep) -> Iterator[Case]:
    for _, cases in plan.lines(sweep):
        yield from cases.values()
