"""How a stack is converted."""

from dataclasses import dataclass
from typing import Literal, TypeVar

from separator.errors import UserError
from separator.snn.conversion.thresholds import check_percentile
from separator.snn.layers.spiking import Dynamics, Schedule
from separator.snn.observe.activity import check_penalty
from separator.snn.stack.stack import Readout

Value = TypeVar("Value", int, float)
ThresholdRule = Literal["percentile", "least-squares"]
# Layers in which batch norm goes by the batch: none, those that are analog still, or the one under conversion as well.
NormStatistics = Literal["none", "analog", "all"]


@dataclass(frozen=True)
class ConversionSettings:
    """How a stack is converted; the defaults are the paper's for speech separation."""

    window: int = 32  # time steps N_s
    initial_potential: float = 0.0  # initial potential in thresholds; 0.5 rounds where 0 floors
    threshold: ThresholdRule = "percentile"  # what sets the upper bound a_u of activations, N_s thresholds
    percentile: float = 99.0  # of the activations, if that is the rule
    channelwise: bool = False  # a threshold per channel instead of one per layer
    share_thresholds: bool = False  # along chains of layers that add their input, so that a spike passes them one for one
    learn_thresholds: bool = False  # tune thresholds together with the weights
    mask_gradient: bool = False  # none to neurons that fire at every step; where thresholds learn it is so in any case
    statistics: NormStatistics = "analog"  # whose batch norm goes on normalising batches, and learning of them
    activity_penalty: float = 0.0  # weight in the loss of how active layers that learn are; see `ActivityPenalty`
    readout: Readout = "rectified"
    schedule: Schedule = "pipelined"
    weight_bits: int | None = None  # of synaptic weights as signed integers; None for as many as float32 sums stay exact with
    encoder_bits: int = 16  # likewise of the first layer, which has analog input
    fan_in: int | None = None  # most incoming connections of a neuron, the strongest ones; None for no limit
    passes: int = 1  # over the layers; in further ones a layer and all those after it, spiking already, are tuned again
    patience: int = 3  # T_p: epochs of a layer without improvement after which it ends
    max_epochs: int | list[int] = 100  # of each layer, as `lr`; 0 converts without tuning
    # Of all layers, or of the first, the second, ..., the last of all further ones, counted on through the passes.
    lr: float | list[float] = 1e-4
    anneal: bool = False  # lower the learning rate linearly to zero over the epochs of a layer
    clip: float = 5.0  # norm of the gradient
    calibration_batches: int = 8  # for thresholds and the report
    keep_mb: int = 4000  # memory for the trains of frozen layers; what does not fit is simulated again when it is needed

    def __post_init__(self) -> None:
        _ = self.dynamics  # refuses what neurons cannot do
        if self.lr == [] or self.max_epochs == []:
            raise UserError("a learning rate or a number of epochs is missing")
        check_percentile(self.percentile)
        check_penalty(self.activity_penalty)
        if self.passes < 1 or (self.fan_in is not None and self.fan_in < 1):
            raise UserError("there are at least one pass over the layers and one incoming connection of a neuron")

    def layer_lr(self, number: int) -> float:
        """Learning rate of a layer, counted on through the passes."""
        return _of_layer(self.lr, number)

    def layer_epochs(self, number: int) -> int:
        """Most epochs of a layer, counted likewise."""
        return _of_layer(self.max_epochs, number)

    @property
    def dynamics(self) -> Dynamics:
        """How the neurons run."""
        return Dynamics(self.window, self.initial_potential, self.schedule, self.weight_bits, self.encoder_bits)


def _of_layer(values: Value | list[Value], number: int) -> Value:
    return values[min(number, len(values) - 1)] if isinstance(values, list) else values
