"""Settings that sweeps vary or leave as they are."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from separator.errors import UserError
from separator.tasks.benchmark.measurement import BenchmarkCase
from separator.tasks.benchmark.systems import RANDOM_NETWORKS, parse_system

TYPES: dict[str, type] = {
    "window": int,
    "rate": float,
    "width": int,
    "seconds": float,
    "batch": int,
    "network": str,
    "device": str,
}
# Of sweeps that have others than those of `Settings`: rates of few steps are coarse, and recipes convert with 2 s.
DEFAULTS: dict[str, dict[str, Any]] = {"rate": {"window": 32}, "layer": {"window": 32, "seconds": 2.0}}


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement that a sweep does not vary, and the one that it does.

    Raises:
        UserError: a value is out of range.
    """

    window: int = 8  # time steps
    width: int = 512  # filters and channels
    seconds: float = 4.0  # of sound
    rate: float | None = None  # that thresholds are chosen for; None for those of the 99th percentile
    batch: int = 16  # pictures, or mixtures, that are learned from at a time
    network: str = "hybrid-vgg5-w16"  # that learns from them: of pictures by name or layers, of mixtures small, medium or paper
    device: str = "cpu"  # that they learn and infer on: cpu, cuda, or auto for a GPU if there is one

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 32:
            raise UserError(f"a time window is 1 to 32 steps, not {self.window}")
        if self.width < 1:
            raise UserError(f"a width is at least 1, not {self.width}")
        if not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise UserError(f"a length of sound is above 0 seconds, not {self.seconds:g}")
        if self.batch < 1:
            raise UserError(f"a batch has at least 1 item, not {self.batch}")
        if self.rate is not None and not 0 < self.rate < 1:
            raise UserError(f"a firing rate is between 0 and 1, not {self.rate:g}")

    def case(self, system: str, threads: int) -> BenchmarkCase:
        """Case of a network with random weights; an analog one has neither time steps nor a firing rate."""
        spiking = RANDOM_NETWORKS[parse_system(system).name] is not None
        named = f"{system}@{self.window}" if spiking else system
        return BenchmarkCase(named, self.seconds, threads, self.width, self.rate if spiking else None)


def parse_setting(name: str, text: str) -> int | float | str:
    """Value of a field of `Settings`.

    Raises:
        UserError: there is none of that name, or it is no number.
    """
    if name not in TYPES:
        raise UserError(f"there is no '{name}' to set; take {', '.join(TYPES)}")
    try:
        value: int | float | str = TYPES[name](text)
    except ValueError as error:
        raise UserError(f"{name} is a {'whole ' if TYPES[name] is int else ''}number, not {text!r}") from error
    return value


def parse_settings(texts: Iterable[str]) -> dict[str, int | float | str]:
    """Fields of `Settings` from texts `NAME=VALUE`.

    Raises:
        UserError: there is no such field, or a value is no number.
    """
    pairs = (text.partition("=") for text in texts)
    return {name: parse_setting(name, value) for name, _, value in pairs}
