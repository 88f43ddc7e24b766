"""Sweeps: cost against time window, firing rate, width, length of sound, and stage of conversion, with tables and plots."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from separator.atomic import write_text
from separator.errors import UserError
from separator.models.card import find_model, read_card
from separator.tasks.benchmark import Case, Measurement, measured_apart
from separator.tasks.benchmark_systems import PAPER_SIZED, parse_system
from separator.tasks.journal import Journal
from separator.tasks.machine import machine

# The first is what the others are multiples of.
SYSTEMS = (
    "paper-ann",
    "bf16:paper-ann",
    "paper-snn",
    "dense:paper-snn",
    "paper-snn-pipelined",
    "dense:paper-snn-pipelined",
    "spikingjelly:paper-snn-pipelined",
)
VALUES: dict[str, tuple[Any, ...]] = {
    "window": (1, 2, 4, 8, 16, 32),
    "rate": (0.005, 0.02, 0.05, 0.1, 0.2, 0.4),
    "width": (64, 128, 256, 512, 1024),
    "seconds": (1.0, 4.0, 15.0, 60.0),
    "stage": ("small-ann", "paper-ann"),
}
TYPES = {"window": int, "rate": float, "width": int, "seconds": float}
# Where sweeps stand still that do not as `Point` does: rates of few steps are coarse, and recipes convert with 2 s.
STANDS: dict[str, dict[str, Any]] = {"rate": {"window": 32}, "stage": {"window": 32, "seconds": 2.0}}
COLUMNS = ("firing_rate", "same_spikes", "elapsed", "kept", "memory", "machine")


@dataclass(frozen=True)
class Point:
    """Where a measurement stands.

    Raises:
        UserError: a value is out of range.
    """

    window: int = 8  # time steps
    width: int = 512  # filters and channels
    seconds: float = 4.0  # of sound
    rate: float | None = None  # that thresholds are chosen for; None for those of the 99th percentile

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 32:
            raise UserError(f"a time window is 1 to 32 steps, not {self.window}")
        if self.width < 1:
            raise UserError(f"a width is at least 1, not {self.width}")
        if not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise UserError(f"a length of sound is above 0 seconds, not {self.seconds:g}")
        if self.rate is not None and not 0 < self.rate < 1:
            raise UserError(f"a firing rate is between 0 and 1, not {self.rate:g}")

    def case(self, system: str, threads: int) -> Case:
        """A network with random weights at this point; an analog one has neither time steps nor a firing rate."""
        spiking = PAPER_SIZED[parse_system(system).name] is not None
        named = f"{system}@{self.window}" if spiking else system
        return Case(named, self.seconds, threads, self.width, self.rate if spiking else None)


@dataclass(frozen=True)
class Sweep:
    """What is varied, and what over.

    Raises:
        UserError: there is no such sweep.
    """

    name: str  # one of `VALUES`
    values: tuple[Any, ...]  # numbers; names of networks for `stage`

    def __post_init__(self) -> None:
        if self.name not in VALUES:
            raise UserError(f"there is no sweep '{self.name}'; take {', '.join(VALUES)}")

    @classmethod
    def parse(cls, text: str) -> "Sweep":
        """From `NAME`, or `NAME=VALUE,VALUE,...`."""
        name, equals, values = text.partition("=")
        if not equals:
            return cls(name, VALUES.get(name, ()))
        return cls(name, tuple(number(name, value) if name in TYPES else value for value in values.split(",")))


@dataclass(frozen=True)
class Line:
    """A system over a sweep."""

    system: str  # without time steps
    values: tuple[Any, ...]  # of what was varied; stages of the conversion of a network
    results: tuple[Measurement, ...]  # at each of them


@dataclass(frozen=True)
class Plan:
    """All that is to be measured.

    Raises:
        UserError: a system is no network with random weights, or a point is out of range.
    """

    sweeps: tuple[Sweep, ...]
    at: Mapping[str, Any]  # fields of `Point` where the default is not wanted
    threads: int
    systems: tuple[str, ...] = SYSTEMS

    def __post_init__(self) -> None:
        for system in self.systems:
            if parse_system(system).name not in PAPER_SIZED:
                raise UserError(f"sweeps run networks with random weights ({', '.join(PAPER_SIZED)}), not {system}")
        for sweep in self.sweeps:
            _ = list(self.lines(sweep))

    def point(self, sweep: Sweep) -> Point:
        """Where all stands that a sweep does not vary."""
        return Point(**(STANDS.get(sweep.name, {}) | dict(self.at)))

    def lines(self, sweep: Sweep) -> Iterator[tuple[str, dict[Any, Case]]]:
        """Systems of a sweep, each with its cases by value."""
        point = self.point(sweep)
        if sweep.name == "stage":
            for network in sweep.values:
                width = point.width if network in PAPER_SIZED else None
                for system in (network, f"dense:{network}"):
                    case = Case(f"{system}@{point.window}", point.seconds, self.threads, width)
                    yield system, {stage: replace(case, stage=stage) for stage in range(stages_of(network))}
            return
        for system in self.systems:
            yield system, {value: replace(point, **{sweep.name: value}).case(system, self.threads) for value in sweep.values}


def number(name: str, text: str) -> int | float:
    """A value of a `Point`.

    Raises:
        UserError: there is none of that name, or it is no number.
    """
    if name not in TYPES:
        raise UserError(f"there is no '{name}' to set; take {', '.join(TYPES)}")
    try:
        value: int | float = TYPES[name](text)
    except ValueError as error:
        raise UserError(f"{name} is a {'whole ' if TYPES[name] is int else ''}number, not {text!r}") from error
    return value


def parse_at(texts: Iterable[str]) -> dict[str, int | float]:
    """Values of a `Point` from `NAME=VALUE`."""
    pairs = (text.partition("=") for text in texts)
    return {name: number(name, value) for name, _, value in pairs}


def stages_of(network: str) -> int:
    """Number of stages of a shipped model, model file or network with random weights.

    Raises:
        UserError: there is no such model.
    """
    from separator.models.tasnet import paper

    dilations = paper().dilations if network in PAPER_SIZED else read_card(find_model(network)).config["dilations"]
    return 1 + len(dilations)


def check_libraries(plan: Plan) -> None:
    """Say beforehand what would be missing after minutes.

    Raises:
        UserError: a library is missing.
    """
    extras = {"matplotlib": "score"}
    if any(parse_system(system).hands == "spikingjelly" for system in plan.systems):
        extras["spikingjelly"] = "compare"
    if any(sweep.name == "stage" for sweep in plan.sweeps):
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
    from separator.tasks.sweep_pictures import draw_sweep
    from separator.tasks.sweep_tables import to_markdown

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
    )


def _float(text: str) -> float | None:
    return float(text) if text else None
