"""Sweeps: their systems, their values, and the cases that they come to; and the systems that are compared side by side."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from separator.errors import UserError
from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement
from separator.tasks.benchmark.sweeps.settings import DEFAULTS, TYPES, Settings, parse_setting
from separator.tasks.benchmark.systems import ASTEROID, RANDOM_NETWORKS, parse_system
from separator.tasks.benchmark.training.recipes import RECIPES, in_precisions, recipe_of
from separator.tasks.benchmark.unrolled.ways import WAYS

# Systems of sweeps over a setting. The first is what the others are multiples of.
SWEPT_SYSTEMS = (
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
COMPARISONS = {
    "published": (
        "paper-ann",
        "bf16:paper-ann",
        *(f"{backend}paper-snn@{n}" for backend in ("", "dense:") for n in _STEPS),
        *(f"{backend}paper-snn-pipelined@{n}" for backend in ("", "dense:", "spikingjelly:") for n in _STEPS),
        ASTEROID,
    ),
    "shipped": (
        "small-ann",
        "bf16:small-ann",
        *(f"{backend}small-snn@{n}" for backend in ("", "dense:") for n in _STEPS),
        *(f"{backend}small-snn-32@{n}" for backend in ("", "dense:", "spikingjelly:") for n in _STEPS),
        "small-causal-ann",
        "small-causal-snn",
        ASTEROID,
    ),
}
VALUES: dict[str, tuple[Any, ...]] = dict.fromkeys(COMPARISONS, (4.0, 60.0)) | {
    "window": (1, 2, 4, 8, 16, 32),
    "rate": (0.005, 0.02, 0.05, 0.1, 0.2, 0.4),
    "width": (64, 128, 256, 512, 1024),
    "seconds": (1.0, 4.0, 15.0, 60.0),
    "layer": ("small-ann", "paper-ann"),
    "train": tuple(RECIPES),
    "steps": (10, 25, 50, 100),
}
RENAMED = {"stage": "layer"}  # names of sweeps in former versions
# Times that each case of a sweep is measured in turn, so that no spell of other load falls on one case alone.
TURNS = {"train": 3}


@dataclass(frozen=True)
class Sweep:
    """Name of what is varied, and its values.

    Raises:
        UserError: there is no such sweep.
    """

    name: str  # one of `VALUES`
    # Numbers, of comparisons seconds and of `steps` time steps; names of networks for `layer` and `train`.
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if self.name in RENAMED:
            raise UserError(f"the sweep '{self.name}' is named '{RENAMED[self.name]}' now")
        if self.name not in VALUES:
            raise UserError(f"there is no sweep '{self.name}'; take {', '.join(VALUES)}")

    @classmethod
    def parse(cls, text: str) -> "Sweep":
        """Sweep of a text `NAME` or `NAME=VALUE,VALUE,...`.

        Raises:
            UserError: there is no such sweep, or a value is no number.
        """
        name, equals, values = text.partition("=")
        if not equals:
            return cls(name, VALUES.get(name, ()))
        kind = "seconds" if name in COMPARISONS else "window" if name == "steps" else name
        return cls(name, tuple(parse_setting(kind, value) if kind in TYPES else value for value in values.split(",")))


@dataclass(frozen=True)
class Curve:
    """Measurements of one system over the values of a sweep."""

    system: str  # without time steps, but in comparisons
    values: tuple[Any, ...]  # of what was varied; layers of the conversion of a network; threads that a network learns on
    results: tuple[Measurement, ...]  # at each of them


@dataclass(frozen=True)
class SweepPlan:
    """Sweeps that are to be measured, and what they share.

    Raises:
        UserError: a system is no network with random weights, a setting is out of range, there is no such device, or a sweep
            does not run on it.
    """

    sweeps: tuple[Sweep, ...]
    given: Mapping[str, Any]  # fields of `Settings` where the default is not wanted
    threads: int
    systems: tuple[str, ...] = SWEPT_SYSTEMS

    def __post_init__(self) -> None:
        for system in self.systems:
            if parse_system(system).name not in RANDOM_NETWORKS:
                raise UserError(f"sweeps run networks with random weights ({', '.join(RANDOM_NETWORKS)}), not {system}")
        for sweep in self.sweeps:
            if sweep.name != "steps" and self.device is not None:
                raise UserError(f"the sweep '{sweep.name}' runs on the CPU; give steps a command of its own for {self.device}")
            _ = list(self.cases(sweep))

    @property
    def device(self) -> str | None:
        """GPU that networks learn and infer on; None for the CPU."""
        return _gpu(str(self.given.get("device", "cpu")))

    def settings(self, sweep: Sweep) -> Settings:
        """Settings that a sweep does not vary."""
        return Settings(**(DEFAULTS.get(sweep.name, {}) | dict(self.given)))

    def cases(self, sweep: Sweep) -> Iterator[tuple[str, dict[Any, BenchmarkCase]]]:
        """Systems of a sweep, each with its cases by value."""
        settings = self.settings(sweep)
        if sweep.name == "train":
            yield from self._trainings(sweep.values)
        elif sweep.name == "layer":
            for network in sweep.values:
                width = settings.width if network in RANDOM_NETWORKS else None
                for system in (network, f"dense:{network}"):
                    case = BenchmarkCase(f"{system}@{settings.window}", settings.seconds, self.threads, width)
                    yield system, {layer: replace(case, layer=layer) for layer in range(count_layers(network))}
        elif sweep.name == "steps":
            yield from self._unrolled(settings, sweep.values)
        elif sweep.name in COMPARISONS:
            lengths = {value: replace(settings, seconds=value).seconds for value in sweep.values}
            for system in COMPARISONS[sweep.name]:
                yield system, {value: BenchmarkCase(system, seconds, self.threads) for value, seconds in lengths.items()}
        else:
            for system in self.systems:
                varied = {value: replace(settings, **{sweep.name: value}) for value in sweep.values}
                yield system, {value: point.case(system, self.threads) for value, point in varied.items()}

    def _trainings(self, networks: Iterable[str]) -> Iterator[tuple[str, dict[Any, BenchmarkCase]]]:
        """Networks in the precisions they learn in, by threads; of the sizes of their recipes but for the settings given."""
        for system in in_precisions(networks):
            recipe = recipe_of(system)
            seconds, width = self.given.get("seconds", recipe.segment), self.given.get("width")
            case = BenchmarkCase(system, seconds, 1, width, batch=recipe.batch)
            yield system, {threads: replace(case, threads=threads) for threads in dict.fromkeys((1, self.threads))}

    def _unrolled(self, settings: Settings, steps: Sequence[int]) -> Iterator[tuple[str, dict[Any, BenchmarkCase]]]:
        """Ways to learn and to infer, by the number of time steps that each can take; an analog network has none."""
        if min(steps) < 1:
            raise UserError(f"a network learns through at least 1 time step, not {min(steps)}")
        seconds = settings.seconds if settings.network in RECIPES else 0.0  # pictures have none
        case = BenchmarkCase("", seconds, self.threads, batch=settings.batch, device=self.device)
        for name, way in WAYS.items():
            system = f"{name}:{settings.network}"
            possible = [n for n in steps if way.most is None or n <= way.most]
            if possible:
                yield system, {n: replace(case, system=f"{system}@{n}" if way.spikes else system) for n in possible}


def _gpu(device: str) -> str | None:
    """Name of the GPU that there is by the name of a device; None for the CPU.

    Raises:
        UserError: there is no such device, or memory is not known of it.
    """
    if device == "cpu":
        return None
    from separator.tasks.devices import resolve_device

    name = resolve_device(device)
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise UserError(f"memory and time of a step are measured on cpu and cuda, not on {name}")
    return None if kind == "cpu" else name


def count_layers(network: str) -> int:
    """Number of layers of a shipped model, model file or network with random weights.

    Raises:
        UserError: there is no such model, or it cannot be used.
    """
    from separator.models import load_model
    from separator.models.tasnet import paper

    config = paper() if network in RANDOM_NETWORKS else load_model(network).network.config
    return 1 + len(config.dilations + config.look_back)
