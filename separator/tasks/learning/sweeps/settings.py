"""Settings of a sweep: the networks that it trains and converts, and the field that it varies."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from separator.errors import UserError
from separator.snn.conversion.presets import preset
from separator.tasks.learning.conversion import ConversionRun, TuningSettings
from separator.tasks.learning.settings import CardSettings, MachineSettings, OptimiserSettings, TrainingSettings
from separator.tasks.problems.protocol import Problem

LABELS = {
    "window": "time window",
    "patience": "patience",
    "weight_bits": "weight bits",
    "initial_potential": "initial potential",
}
# Of a variant, beside fields of `TuningSettings`:
PRESET = "preset"  # what the fields that it does not give are, in place of the common ones
QUANTISED = "quantised"  # its analog network is trained with as many levels of activation as there are steps

Variant = dict[str, Any]  # fields of `TuningSettings` in place of the common ones, `PRESET`, and `QUANTISED`


@dataclass(frozen=True)
class Conversion:
    """One conversion of a sweep."""

    seed: int
    variant: str
    value: float


@dataclass(frozen=True)
class Analog:
    """One analog network of a sweep."""

    seed: int
    levels: int | None


@dataclass(frozen=True)
class SweepSettings:
    """Settings of what is trained, converted and varied."""

    problem: Problem
    optimiser: OptimiserSettings
    machine: MachineSettings
    conversion: TuningSettings = field(default_factory=TuningSettings)
    card: CardSettings = field(default_factory=CardSettings)  # of all models, but for their names
    vary: str = "window"  # the field of `conversion` that is varied
    values: list[float] = field(default_factory=lambda: [32, 16, 8, 4, 2, 1])  # 0 weight bits are floating point
    variants: dict[str, Variant] = field(default_factory=lambda: {"snn": {}})  # each converted with each value
    seeds: int = 5  # networks trained, each converted in each way
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all
    jobs: int = 1  # trainings and conversions at a time; of more than one, each has a thread

    def __post_init__(self) -> None:
        if self.vary not in LABELS:
            raise UserError(f"'{self.vary}' cannot be varied; take {', '.join(LABELS)}")
        if self.seeds < 1 or self.jobs < 1 or not self.values or not self.variants:
            raise UserError("a sweep has at least one seed, one job, one value and one variant")
        if self.optimiser.max_epochs < 0 and self.optimiser.finish is None:
            raise UserError("trainings of a sweep must end; give --optimiser.max_epochs, or --optimiser.finish")
        varied = (self.vary, "encoder_bits") if self.vary == "weight_bits" else (self.vary,)
        for name, variant in self.variants.items():
            if given := [one for one in varied if one in variant]:
                raise UserError(f"variant {name}: the sweep varies {given[0]}; leave it out, and give --values")
        for work in self.conversions():
            self.settings_of(work).check_window()
            _ = self.levels_of(work)  # refuses values that cannot be

    def conversions(self) -> Iterator[Conversion]:
        """All that is to be converted."""
        for seed in range(self.seeds):
            for variant in self.variants:
                for value in self.values:
                    yield Conversion(seed, variant, float(value))

    def settings_of(self, work: Conversion) -> TuningSettings:
        """Settings of a conversion.

        Raises:
            UserError: a value cannot be.
        """
        variant = {name: value for name, value in self.variants[work.variant].items() if name != QUANTISED}
        if PRESET in variant:
            variant = preset(variant.pop(PRESET)) | variant
        known = {f.name: f.type for f in fields(TuningSettings)}
        for name in variant:
            if name not in known:
                raise UserError(f"variant {work.variant}: conversion has no '{name}'; there are {', '.join(known)}")
        whole = known[self.vary] is not float
        if whole and work.value != int(work.value):
            raise UserError(f"{self.vary} is a whole number, not {work.value:g}")
        value = int(work.value) if whole else work.value
        variant[self.vary] = None if self.vary == "weight_bits" and value == 0 else value
        if self.vary == "weight_bits" and value != 0:  # those of all layers
            variant["encoder_bits"] = value
        return replace(self.conversion, **variant)

    def analog(self, conversions: Iterable[Conversion]) -> list[Analog]:
        """The analog networks that conversions start from."""
        return list(dict.fromkeys(Analog(work.seed, self.levels_of(work)) for work in conversions))

    @property
    def levels(self) -> int | None:
        """Levels of activation of the networks as they are given; None for ReLU."""
        levels: int | None = getattr(self.problem.network, "levels", None)
        return levels

    def levels_of(self, work: Conversion) -> int | None:
        """Levels of activation that a conversion's analog network is trained with; None for ReLU.

        Raises:
            UserError: they shall be quantised, which these networks cannot be.
        """
        if not self.variants[work.variant].get(QUANTISED, False):
            return self.levels
        if not hasattr(self.problem.network, "levels"):
            raise UserError(f"variant {work.variant}: networks for {self.problem.name} have no quantised activations")
        return self.settings_of(work).window

    def training_of(self, network: Analog) -> TrainingSettings:
        """Settings of an analog network's training."""
        return TrainingSettings(
            self.problem if network.levels == self.levels else with_levels(self.problem, network.levels),
            self.optimiser,
            self.machine,
            replace(self.card, name="ann"),
            seed=network.seed,
            device=self.device,
            threads=self._threads_each,
        )

    def run_of(self, work: Conversion, analog: str) -> ConversionRun:
        """Run that converts an analog model."""
        return ConversionRun(
            self.problem,
            analog,
            self.settings_of(work),
            card=replace(self.card, name=work.variant),
            seed=work.seed + 1,
            device=self.device,
            threads=self._threads_each,
        )

    @property
    def _threads_each(self) -> int:
        return self.threads if self.jobs == 1 else 1


def with_levels(problem: Any, levels: int | None) -> Any:
    """A problem whose new networks have so many levels of activation."""
    return replace(problem, network=replace(problem.network, levels=levels))
