"""Sweeps: cost against time window, firing rate, width, length of sound, and stage of conversion; systems side by side."""

from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from separator.atomic import write_text
from separator.errors import UserError
from separator.tasks.bench.benchmark import measured_apart
from separator.tasks.bench.machine import machine
from separator.tasks.bench.measurement import Case, Measurement
from separator.tasks.bench.pictures import draw_sweep
from separator.tasks.bench.plan import Line, Plan, Point, Sweep
from separator.tasks.bench.systems import ASTEROID, parse_system
from separator.tasks.bench.tables import to_markdown
from separator.tasks.journal import Journal

COLUMNS = ("firing_rate", "same_spikes", "elapsed", "kept", "memory", "working", "machine")


def check_libraries(plan: Plan) -> None:
    """Say beforehand what would be missing after minutes.

    Raises:
        UserError: a library is missing.
    """
    extras = {"matplotlib": "score"}
    systems = {case.system for case in _cases(plan)}
    if any(parse_system(system).hands == "spikingjelly" for system in systems):
        extras["spikingjelly"] = "compare"
    if ASTEROID in systems or any(sweep.name == "stage" for sweep in plan.sweeps):
        extras["asteroid"] = "train"
    for library, extra in extras.items():
        if find_spec(library) is None:
            raise UserError(f"this sweep needs the Python package {library}: pip install 'separator[{extra}]'")


def run_sweeps(plan: Plan, folder: Path, command: str) -> str:
    """Measure what the table in `folder` does not have yet, write tables and plots anew after each sweep; returns the tables.

    `bench.csv` has a row for every measurement, kept as it comes; those of another machine or of other versions are measured
    again. `BENCH.md` has the tables, NAME.png the plot of each sweep.

    Args:
        plan: what to measure.
        folder: made if need be.
        command: that is to be found in BENCH.md.

    Raises:
        UserError: a library is missing, the folder cannot be written, or a case cannot be measured.
    """
    check_libraries(plan)
    key = tuple(asdict(Case("", 0, 0)))
    journal, today = Journal(folder / "bench.csv", key, COLUMNS), machine()
    text = ""
    missing = [case for case in dict.fromkeys(_cases(plan)) if _known(journal, case, today) is None]
    with tqdm(total=len(missing), unit="case", disable=None, leave=False) as bar:
        done: list[tuple[Sweep, Point, list[Line]]] = []
        for sweep in plan.sweeps:
            lines = []
            for system, cases in plan.lines(sweep):
                results = []
                for case in cases.values():
                    result = _known(journal, case, today)
                    if result is None:
                        bar.set_description(f"{sweep.name}: {case.system}")
                        result = measured_apart(case)
                        journal.add([_row(result) | {"machine": today}])
                        bar.update()
                    results.append(result)
                lines.append(Line(system, tuple(cases), tuple(results)))
            done.append((sweep, plan.point(sweep), lines))
            draw_sweep(folder / f"{sweep.name}.png", sweep.name, lines)
            text = to_markdown(done, today, plan.threads, command)
            write_text(folder / "BENCH.md", text)
    journal.finish()
    return text


def _cases(plan: Plan) -> Iterator[Case]:
    for sweep in plan.sweeps:
        for _, cases in plan.lines(sweep):
            yield from cases.values()


def _row(result: Measurement) -> dict[str, object]:
    """Columns of a measurement; what there is not stays empty."""
    values = asdict(result) | asdict(result.case)
    return {name: value for name, value in values.items() if name != "case" and value is not None}


def _known(journal: Journal, case: Case, today: str) -> Measurement | None:
    """What the journal has of a case, measured on this machine."""
    key = {name: "" if value is None else value for name, value in asdict(case).items()}
    row = journal.find(key)
    if row is None or row["machine"] != today:
        return None
    return Measurement(
        case,
        elapsed=float(row["elapsed"]),
        memory=float(row["memory"]),
        firing_rate=_float(row["firing_rate"]),
        same_spikes={"True": True, "False": False}.get(row["same_spikes"]),
        kept=_float(row["kept"]),
        working=_float(row["working"]),
    )


def _float(text: str) -> float | None:
    return float(text) if text else None
