"""How a stack is converted."""

from dataclasses import dataclass
from typing import Literal, TypeVar

from separator.errors import UserError
from separator.snn.activity import check_penalty
from separator.snn.spiking import Dynamics, Schedule
from separator.snn.stack import Readout
from separator.snn.thresholds import check_percentile

Value = TypeVar("Value", int, float)
ThresholdRule = Literal["percentile", "least-squares"]
# Layers in which batch norm goes by the batch: none, those that are analog still, or the one under conversion as well.
NormStatistics = Literal["none", "analog", "all"]


@dataclass(frozen=True)
class ConversionSettings:
    """How a stack is converted; the defaults are the paper's for speech separation."""

    window: int = 32  # time steps N_s
    start: float = 0.0  # start potential in thresholds; 0.5 rounds where 0 floors
    threshold: ThresholdRule = "percentile"  # what sets the upper bound a_u of activations, N_s thresholds
    percentile: float = 99.0  # of the activations, if that is the rule
    channelwise: bool = False  # a threshold per channel instead of one per layer
    share_thresholds: bool = False  # along chains of stages that add their input, so that a spike passes them one for one
    learn_thresholds: bool = False  # tune thresholds together with the weights
    mask_gradient: bool = False  # none to neurons that fire at every step; where thresholds learn it is so in any case
    statistics: NormStatistics = "analog"  # whose batch norm goes on normalising batches, and learning of them
    activity_penalty: float = 0.0  # weight in the loss of how active stages that learn are; see `ActivityPenalty`
    readout: Readout = "rectified"
    schedule: Schedule = "pipelined"
    weight_bits: int | None = None  # of synaptic weights as signed integers; None for as many as float32 sums stay exact with
    encoder_bits: int = 16  # likewise of the first stage, which has analog input
    fan_in: int | None = None  # most incoming connections of a neuron, the strongest ones; None for no limit
    passes: int = 1  # over the stages; in further ones a stage and all those after it, spiking already, are tuned again
    patience: int = 3  # T_p: epochs of a stage without improvement after which it ends
    max_epochs: int | list[int] = 100  # of each stage, as `lr`; 0 converts without tuning
    # Of all stages, or of the first, the second, ..., the last of all further ones, counted on through the passes.
    lr: float | list[float] = 1e-4
    anneal: bool = False  # lower the learning rate linearly to zero over the epochs of a stage
    clip: float = 5.0  # norm of the gradient
    calibration_batches: int = 8  # for thresholds and the report
    keep_mb: int = 4000  # memory for the trains of frozen stages; what does not fit is simulated again when it is needed

    def __post_init__(self) -> None:
        _ = self.dynamics  # refuses what neurons cannot do
        if self.lr == [] or self.max_epochs == []:
            raise UserError("a learning rate or a number of epochs is missing")
        check_percentile(self.percentile)
        check_penalty(self.activity_penalty)
        if self.passes < 1 or (self.fan_in is not None and self.fan_in < 1):
            raise UserError("there are at least one pass over the stages and one incoming connection of a neuron")

    def stage_lr(self, number: int) -> float:
        """Learning rate of a stage, counted on through the passes."""
        return _of_stage(self.lr, number)

    def stage_epochs(self, number: int) -> int:
        """Most epochs of a stage, counted likewise."""
        return _of_stage(self.max_epochs, number)

    @property
    def dynamics(self) -> Dynamics:
        """How the neurons run."""
        return Dynamics(self.window, self.start, self.schedule, self.weight_bits, self.encoder_bits)


def _of_stage(values: Value | list[Value], number: int) -> Value:
    return values[min(number, len(values) - 1)] if isinstance(values, list) else values
