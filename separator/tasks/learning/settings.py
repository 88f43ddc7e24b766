"""How a separation network is trained: everything that a run depends on."""

from dataclasses import dataclass, field
from typing import Literal

from separator.models.tasnet import TasNetConfig
from separator.tasks.problems.mixture_data import DataSettings
from separator.tasks.learning.optimisers import OptimiserName


@dataclass(frozen=True)
class OptimiserSettings:
    """How to train."""

    name: OptimiserName = "adam"
    lr: float = 1e-3
    # plateau: halve after `patience` bad epochs; trapezoid: constant, then linearly to zero over `decay` of all epochs;
    # anytime: constant until `finish` is given, with no end (max_epochs -1) or one that is no matter
    schedule: Literal["plateau", "trapezoid", "anytime"] = "plateau"
    patience: int = 3  # epochs
    stop_patience: int = 10  # epochs without improvement after which training stops
    warmup: int = 0  # steps, not for plateau
    decay: float = 0.3  # share of all steps, trapezoid only
    finish: float | None = None  # hours of mixtures, anytime only: let the rate fall to zero over them from now on, then end
    average: float = 0.0  # share that the exponential average of the weights keeps at a step; 0 for no average
    max_epochs: int = 100  # -1 for no end
    dev_every: int = 1  # epochs from one look at the dev mixtures to the next
    clip: float = 5.0  # norm of the gradient
    learn_thresholds: bool = False  # of a spiking network
    weight_bits: int | None = None  # of a spiking network's synaptic weights, if fewer than they have
    activity_penalty: float = 0.0  # weight of the activity in the loss, in dB; see ActivityPenalty


@dataclass(frozen=True)
class MachineSettings:
    """Where to train; passed to Lightning."""

    accelerator: str = "auto"
    devices: int | str = "auto"
    nodes: int = 1
    strategy: str = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"  # auto: bf16-mixed where the processor multiplies bfloat16
    threads: int = 0  # CPU threads, 0 for all


@dataclass(frozen=True)
class CardSettings:
    """What the model file says about where the model comes from."""

    name: str = "ann"
    description: str = ""
    training_data: str = ""
    licence: str = ""


@dataclass(frozen=True)
class TrainingSettings:
    """Everything a training run depends on."""

    data: DataSettings
    card: CardSettings = field(default_factory=CardSettings)
    model: TasNetConfig = field(default_factory=TasNetConfig)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
    init: str | None = None  # model to start from, by name or file; its sizes hold then, and a spiking one stays spiking
    seed: int = 0
