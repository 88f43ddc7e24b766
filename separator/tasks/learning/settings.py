"""Settings of trainings: everything that a run depends on."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from separator.errors import UserError
from separator.models.card import ModelCard
from separator.ranges import MOST, check_flags, check_numbers
from separator.resume import facts_of
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.dynamics import Dynamics
from separator.snn.learning.stdb.options import StdbOptions
from separator.snn.learning.surrogate import Surrogate, SurrogateName
from separator.snn.spikes.trains import LONGEST
from separator.tasks.fingerprints import model_fingerprint
from separator.tasks.learning.optimisers import OptimiserName
from separator.tasks.problems.protocol import Problem

# How a network learns: as an analog one; as a spiking one with the gradient of its analog twins, by spike counts (Wu et al.
# 2019, "A tandem learning rule"); or as a spiking one through time, with surrogates for the derivatives of spikes: by all that
# was computed, or (Rathi et al. 2020) by spike bits and the times since spikes.
Rule = Literal["analog", "tandem", "surrogate", "stdb"]
# Of the settings of a conversion, those that a network that learns as a spiking one goes by.
OF_NEURONS = (
    *("window", "initial_potential", "schedule", "weight_bits", "encoder_bits", "threshold", "percentile", "rate"),
    *("channelwise", "calibration_batches", "neuron", "neuron_options", "coding", "coding_options"),
)
# What may differ where any run is gone on with: the machine, and what is said of the model.
OF_THE_MACHINE = ("machine", "card", "device", "threads")
# And where a training is: when it ends, and how often it is looked at.
OF_THE_END = tuple(f"optimiser.{name}" for name in ("max_epochs", "stop_patience", "finish", "dev_every", "keep_best"))
# And where its rate is let fall to zero: over how many steps weights are averaged, of which the last ones are then the best.
OF_THE_FINISH = "optimiser.average"


@dataclass(frozen=True)
class OptimiserSettings:
    """Settings of the training: optimiser, schedule, length and what else the steps depend on."""

    name: OptimiserName = "adam"  # muon is for networks that separate
    lr: float = 1e-3  # learning rate
    weight_decay: float = 0.0  # so many times each weight is added to its gradient, adam only
    # plateau: halve after `patience` bad epochs; trapezoid: constant, then linearly to zero over `decay` of all epochs;
    # anytime: constant until `finish` is given, with no end (max_epochs -1) or one that is no matter; step: `drop` times
    # as much from some epochs on; cycle: torch's OneCycleLR, up from a 25th over 0.3 of all steps, then down to next to
    # nothing, along cosines, while the momentum falls and rises
    schedule: Literal["plateau", "trapezoid", "anytime", "step", "cycle"] = "plateau"
    patience: int = 3  # epochs without improvement after which the rate is halved, plateau only
    stop_patience: int | None = 10  # epochs without improvement after which training stops; null for never
    warmup: int = 0  # steps, trapezoid and anytime only
    decay: float = 0.3  # share of all steps, trapezoid only
    drop: float = 0.1  # what is left of the rate where it falls, step only
    drop_at: tuple[float, ...] = (0.5,)  # shares of all epochs after which it falls, step only
    drop_every: int | None = None  # epochs after each of which it falls, in place of drop_at
    finish: float | None = None  # hours of mixtures, anytime only: let the rate fall to zero over them from now on, then end
    average: float = 0.0  # share that the exponential average of the weights keeps at a step; 0 for no average
    max_epochs: int = 100  # -1 for no end, unless the rate goes by shares of all epochs
    dev_every: int = 1  # epochs from one look at what is held out to the next
    best: Literal["loss", "score"] = "loss"  # of what is held out, which tells the epoch that is kept
    clip: float | None = 5.0  # norm of the gradient, null for any
    learn_thresholds: bool = False  # whether those of a spiking network learn with its weights
    weight_bits: int | None = None  # of a spiking network's synaptic weights, if fewer than they have
    activity_penalty: float = 0.0  # weight of the activity in the loss; see ActivityPenalty
    # What batch norm of hidden layers of a new network starts with, in standard deviations. At 1, 84 % of activations are above
    # zero at first, and fewer neurons of a narrow layer fall silent for good.
    initial_bias: float = 0.0
    # What weights of a new network are drawn from: what torch has, under which signals fade in deep networks without batch
    # norm, or a normal distribution that keeps their size (He et al. 2015).
    initial_weights: Literal["torch", "he"] = "torch"
    keep_best: bool = False  # where training diverges, leave the best network before in place of an error

    def __post_init__(self) -> None:
        check_flags(self)
        check_numbers(self, lr=(0.0, MOST), decay=(0.0, 1.0), clip=(0.0, MOST), activity_penalty=(0.0, MOST))
        check_numbers(self, patience=(1, MOST), stop_patience=(1, MOST), warmup=(0, MOST), dev_every=(1, MOST))
        check_numbers(self, max_epochs=(-1, MOST), weight_bits=(2, 16))
        check_numbers(self, weight_decay=(0.0, MOST), drop=(0.0, 1.0), drop_at=(0.0, 1.0), drop_every=(1, MOST))
        if not math.isfinite(self.initial_bias):
            raise UserError(f"a bias is a finite number, not {self.initial_bias}")
        if not 0 <= self.average < 1:
            raise UserError(f"the average keeps a share of 0 to below 1 at a step, not {self.average}")
        if self.weight_decay and self.name != "adam":
            raise UserError(f"weights decay under adam; leave out weight_decay for {self.name}")
        by_shares = self.schedule in ("trapezoid", "cycle") or (self.schedule == "step" and self.drop_every is None)
        if by_shares and self.max_epochs < 1:
            raise UserError(f"the schedule {self.schedule} needs an end; give max_epochs of at least 1, not {self.max_epochs}")
        if self.finish is not None and (self.schedule != "anytime" or self.finish <= 0):
            raise UserError(f"finish takes hours above 0 of a training with the schedule anytime, not {self.finish}")
        check_numbers(self, finish=(0.0, MOST))


@dataclass(frozen=True)
class MachineSettings:
    """Devices that train, and the precision of their numbers; passed to Lightning."""

    devices: int | str = "auto"  # how many, or which
    nodes: int = 1  # machines
    strategy: str = "auto"  # of Lightning, for several devices
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"  # auto: bf16-mixed where the processor multiplies bfloat16

    def __post_init__(self) -> None:
        check_numbers(self, nodes=(1, MOST))


@dataclass(frozen=True)
class CardSettings:
    """Facts that the model file states about where the model comes from."""

    name: str | None = None  # null for what it is, ann or snn
    description: str = ""  # one line
    training_data: str = ""  # where it comes from
    licence: str = ""  # of the model

    def of_learner(self, before: ModelCard, learned: str = "") -> dict[str, Any]:
        """Fields of the card of a model that goes on from another: as given, else what that one's says, and the data since.

        Args:
            before: its card.
            learned: the data since, for people.
        """
        origins = [before.training_data, "" if learned in before.training_data else learned]
        return {
            "description": self.description,
            "training_data": self.training_data or "; then ".join(filter(None, origins)),
            "licence": self.licence or before.licence,
        }


@dataclass(frozen=True)
class LearningSettings:
    """Learning rule of a network, new or given; neurons of one that becomes spiking are those of the conversion settings."""

    rule: Rule = "analog"  # tandem, surrogate and stdb are for spiking networks
    surrogate: SurrogateName = "rectangular"  # derivative of a spike: rectangular, triangular, sigmoid or arctan
    surrogate_width: float = 1.0  # in thresholds
    stdb: StdbOptions = field(default_factory=StdbOptions)  # derivative of a spike, of the rule stdb
    segment: int | None = None  # steps that gradients go back through at most, with a loss at the end of each segment
    leak: float | None = None  # share of potentials that stays from step to step; null for what the neurons have
    delayed: bool | None = None  # whether neurons fire on the potential of the step before; null likewise
    learn_leak: bool = False  # in steps of 1/256, one leak for all layers

    def __post_init__(self) -> None:
        _ = self.derivative  # refuses what cannot be
        check_flags(self)
        check_numbers(self, segment=(1, MOST))
        if self.rule != "surrogate" and self.derivative != Surrogate():
            raise UserError("surrogate and surrogate_width are of the rule surrogate; leave them out, or give --learning.rule")
        if self.rule != "stdb" and self.stdb != StdbOptions():
            raise UserError("options to --learning.stdb are of the rule stdb; leave them out, or give --learning.rule stdb")
        if self.segment is not None and self.rule not in ("surrogate", "stdb"):
            raise UserError("segments are those of learning through time; give --learning.rule surrogate or stdb")
        if self.rule != "stdb" and (self.leak is not None or self.delayed is not None or self.learn_leak):
            raise UserError("leak, delayed and learn_leak are of the rule stdb; for others, give --conversion.neuron_options")

    @property
    def derivative(self) -> Surrogate:
        """Surrogate for the derivative of a spike."""
        return Surrogate(self.surrogate, self.surrogate_width)

    def neurons(self, dynamics: Dynamics) -> Dynamics:
        """How neurons run that learn by this rule, from how they ran before; leaky ones where that is asked for.

        Raises:
            UserError: there are no such neurons.
        """
        if self.leak is None and self.delayed is None and not self.learn_leak:
            return dynamics
        given = {"leak": self.leak, "delayed": None if self.delayed is None else int(self.delayed)}
        changed = {name: value for name, value in given.items() if value is not None}
        before = dynamics.neuron_options if dynamics.neuron == "leaky" else {}
        return replace(dynamics, neuron="leaky", neuron_options=before | changed)


def usual_neurons() -> ConversionSettings:
    """Neurons of networks that learn as spiking ones, usually: those of the paper's Fig. 4."""
    return ConversionSettings(window=8, calibration_batches=4)


@dataclass(frozen=True)
class TrainingSettings:
    """Everything a training run depends on; `optimiser_of` and `machine_of` give what is usual for a problem."""

    problem: Problem
    optimiser: OptimiserSettings
    machine: MachineSettings
    card: CardSettings = field(default_factory=CardSettings)
    # Model to start from, by name or file. Its sizes hold then, but an analog one grows to larger ones that are given, and a
    # spiking one stays spiking.
    init: str | None = None
    learning: LearningSettings = field(default_factory=LearningSettings)
    conversion: ConversionSettings = field(default_factory=usual_neurons)  # `OF_NEURONS`, unless learning is analog
    seed: int = 0
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all

    def __post_init__(self) -> None:
        check_numbers(self, seed=(0, 2**32 - 1), threads=(0, MOST))
        rule = self.learning.rule
        if rule == "analog" and self.learning != LearningSettings():
            raise UserError("there is nothing to --learning but the rule where it is analog; give --learning.rule")
        if rule == "analog" and self.conversion != usual_neurons():
            raise UserError("--conversion is of networks that learn as spiking ones; leave it out, or give --learning.rule")
        if rule == "tandem":
            self.conversion.check_window()
        if self.learning.segment is not None and not self.problem.in_segments:
            raise UserError(f"{self.problem.name} is not learned in segments; leave out --learning.segment")
        unmeasured = rule == "stdb" or (rule == "surrogate" and self.conversion.window > LONGEST)
        if unmeasured and self.optimiser.activity_penalty:
            raise UserError(
                f"the activity of layers that learn by stdb, or in more than {LONGEST} steps, is not measured; leave out "
                "--optimiser.activity_penalty"
            )
        if self.optimiser.finish is not None and not self.problem.has_sound:
            raise UserError("finish takes hours of sound, of which there are none here; give max_epochs")

    @property
    def facts(self) -> dict[str, Any]:
        """Facts that the training depends on, and when it ends, by dotted names.

        Raises:
            UserError: there is no model `init`.
        """
        unused = [f"conversion.{f.name}" for f in fields(ConversionSettings) if f.name not in OF_NEURONS]
        neurons = unused if self.learning.rule != "analog" else ["conversion"]
        problem = self.problem
        facts = run_facts(self, [*OF_THE_MACHINE, *neurons, *problem.of_the_machine, *problem.of_the_scores])
        return facts if self.init is None else facts | {"init_fingerprint": model_fingerprint(self.init)}


def optimiser_of(problem: type[Problem] | Problem, **changes: Any) -> OptimiserSettings:
    """Usual optimiser settings of a problem, with changes."""
    return OptimiserSettings(**{**problem.defaults.get("optimiser", {}), **changes})


def machine_of(problem: type[Problem] | Problem, **changes: Any) -> MachineSettings:
    """On what machine, likewise."""
    return MachineSettings(**{**problem.defaults.get("machine", {}), **changes})


def run_facts(run: Any, free: Collection[str]) -> dict[str, Any]:
    """Facts that a run depends on, by dotted names.

    Args:
        run: a dataclass with the field `problem`, whose own settings are named as if they were the run's.
        free: names that may differ where the run is gone on with.
    """
    found = facts_of(run, ["problem"]) | facts_of(run.problem)
    kept = {name: value for name, value in found.items() if not any(f"{name}.".startswith(f"{one}.") for one in free)}
    return {"problem": run.problem.name} | kept


def without(facts: dict[str, Any], free: Collection[str]) -> dict[str, Any]:
    """Facts but for those that are free."""
    return {name: value for name, value in facts.items() if name not in free}
