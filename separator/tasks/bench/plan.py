"""What sweeps vary: systems, values, and where all the rest stands; and the systems that are compared side by side."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from separator.errors import UserError
from separator.tasks.bench.measurement import Case, Measurement
from separator.tasks.bench.recipes import RECIPES, in_precisions, recipe_of
from separator.tasks.bench.systems import ASTEROID, PAPER_SIZED, parse_system

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
_STEPS = (4, 8, 32)
# Comparisons: fixed systems over lengths of sound. The first system is what the others are multiples of.
COMPARED = {
    "published": (
        "paper-ann",
        "bf16:paper-ann",
        *(f"{hands}paper-snn@{n}" for hands in ("", "dense:") for n in _STEPS),
        *(f"{hands}paper-snn-pipelined@{n}" for hands in ("", "dense:", "spikingjelly:") for n in _STEPS),
        ASTEROID,
    ),
    "shipped": (
        "small-ann",
        "bf16:small-ann",
        *(f"{hands}small-snn@{n}" for hands in ("", "dense:") for n in _STEPS),
        *(f"{hands}small-snn-32@{n}" for hands in ("", "dense:", "spikingjelly:") for n in _STEPS),
        "small-causal-ann",
        "small-causal-snn",
        ASTEROID,
    ),
}
VALUES: dict[str, tuple[Any, ...]] = dict.fromkeys(COMPARED, (4.0, 60.0)) | {
    "window": (1, 2, 4, 8, 16, 32),
    "rate": (0.005, 0.02, 0.05, 0.1, 0.2, 0.4),
    "width": (64, 128, 256, 512, 1024),
    "seconds": (1.0, 4.0, 15.0, 60.0),
    "layer": ("small-ann", "paper-ann"),
    "train": tuple(RECIPES),
}
TYPES = {"window": int, "rate": float, "width": int, "seconds": float}
# Times that each case of a sweep is measured in turn, so that no spell of other load falls on one case alone.
TURNS = {"train": 3}
# Where sweeps stand still that do not as `Point` does: rates of few steps are coarse, and recipes convert with 2 s.
STANDS: dict[str, dict[str, Any]] = {"rate": {"window": 32}, "layer": {"window": 32, "seconds": 2.0}}


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
    values: tuple[Any, ...]  # numbers, of comparisons seconds; names of networks for `layer` and `train`

    def __post_init__(self) -> None:
        if self.name not in VALUES:
            raise UserError(f"there is no sweep '{self.name}'; take {', '.join(VALUES)}")

    @classmethod
    def parse(cls, text: str) -> "Sweep":
        """From `NAME`, or `NAME=VALUE,VALUE,...`."""
        name, equals, values = text.partition("=")
        if not equals:
            return cls(name, VALUES.get(name, ()))
        kind = "seconds" if name in COMPARED else name
        return cls(name, tuple(number(kind, value) if kind in TYPES else value for value in values.split(",")))


@dataclass(frozen=True)
class Line:
    """A system over a sweep."""

    system: str  # without time steps, but in comparisons
    values: tuple[Any, ...]  # of what was varied; layers of the conversion of a network; threads that a network learns on
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
        if sweep.name == "train":
            yield from self._trainings(sweep.values)
        elif sweep.name == "layer":
            for network in sweep.values:
                width = point.width if network in PAPER_SIZED else None
                for system in (network, f"dense:{network}"):
                    case = Case(f"{system}@{point.window}", point.seconds, self.threads, width)
                    yield system, {layer: replace(case, layer=layer) for layer in range(layers_of(network))}
        elif sweep.name in COMPARED:
            lengths = {value: replace(point, seconds=value).seconds for value in sweep.values}
            for system in COMPARED[sweep.name]:
                yield system, {value: Case(system, seconds, self.threads) for value, seconds in lengths.items()}
        else:
            for system in self.systems:
                points = {value: replace(point, **{sweep.name: value}) for value in sweep.values}
                yield system, {value: point.case(system, self.threads) for value, point in points.items()}

    def _trainings(self, networks: Iterable[str]) -> Iterator[tuple[str, dict[Any, Case]]]:
        """Networks in the precisions they learn in, by threads; of the sizes of their recipes but for what `at` has."""
        for system in in_precisions(networks):
            recipe = recipe_of(system)
            case = Case(system, self.at.get("seconds", recipe.segment), 1, self.at.get("width"), batch=recipe.batch)
            yield system, {threads: replace(case, threads=threads) for threads in dict.fromkeys((1, self.threads))}


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


def layers_of(network: str) -> int:
    """Number of layers of a shipped model, model file or network with random weights.

    Raises:
        UserError: there is no such model, or it cannot be used.
    """
    from separator.models import load_model
    from separator.models.tasnet import paper

    config = paper() if network in PAPER_SIZED else load_model(network).network.config
    return 1 + len(config.dilations + config.look_back)
