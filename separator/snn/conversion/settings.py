"""Settings of a conversion."""

from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

from separator.errors import UserError
from separator.ranges import MOST, check_flags, check_numbers
from separator.snn.coding.readouts import READOUTS
from separator.snn.layers.dynamics import Dynamics, Schedule
from separator.snn.learning.rules import RULES
from separator.snn.spikes.trains import LONGEST
from separator.snn.thresholds.rules import THRESHOLDS, ThresholdOptions

Value = TypeVar("Value", int, float)
# Layers in which batch norm goes by the batch: none, those that are analog still, or the one under conversion as well.
NormStatistics = Literal["none", "analog", "all"]


@dataclass(frozen=True)
class ConversionSettings:
    """Settings of the conversion of a stack; the defaults are the paper's for speech separation."""

    window: int = 32  # time steps N_s
    initial_potential: float = 0.0  # initial potential in thresholds; 0.5 rounds where 0 floors
    # Rule that sets upper bounds a_u of activations: also least-squares, rate, scaling-factor, unit, balanced.
    threshold: str = "percentile"
    percentile: float = 99.0  # of the activations, if that is the rule; of the currents, if balanced is
    rate: float | None = None  # mean spikes per neuron and step, if that is the rule
    threshold_scale: float = 1.0  # of unit thresholds, and of balanced ones, once all of them are found
    balance_steps: int | None = None  # time steps that thresholds are balanced over; None for the window
    channelwise: bool = False  # a threshold per channel instead of one per layer
    share_thresholds: bool = False  # along chains of layers that add their input, so that a spike passes them one for one
    learn_thresholds: bool = False  # tune thresholds together with the weights
    mask_gradient: bool = False  # none to neurons that fire at every step; where thresholds learn it is so in any case
    statistics: NormStatistics = "analog"  # whose batch norm goes on normalising batches, and learning of them
    activity_penalty: float = 0.0  # weight in the loss of how active layers that learn are; see `ActivityPenalty`
    readout: str = "rectified"  # of the last layer: potential, rectified or counts
    schedule: Schedule = "pipelined"  # layers fire while their input comes; or each layer waits for all of it
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
    calibration_batches: int = 8  # for thresholds and the report; at once, 0 for all there are
    at_once: bool = False  # all layers at once, thresholds from the analog network, no tuning; else one layer after the other
    neuron: str = "integrate-and-fire"  # model of the neurons
    neuron_options: dict[str, float] = field(default_factory=dict)  # of the model
    coding: str = "charge"  # of the input: charge (all at the first step), constant (a share at each) or poisson (spikes)
    coding_options: dict[str, float] = field(default_factory=dict)  # of the coding, such as the seed of poisson
    learning: str = "tandem"  # rule by which layers that spike learn: also surrogate, stdb, both of them in one pass only
    keep_mb: int = 4000  # memory for the trains of frozen layers; what does not fit is simulated again when it is needed

    def __post_init__(self) -> None:
        _ = self.dynamics  # refuses what neurons cannot do
        rule = THRESHOLDS.pick(self.threshold)
        if rule.balances and not self.at_once:
            raise UserError("thresholds are balanced where `separator convert` converts all layers at once; set at_once")
        if self.threshold == "rate" and self.rate is None:
            raise UserError("the threshold rule rate needs a rate: mean spikes per neuron and step")
        if not rule.scales and self.threshold_scale != 1:
            raise UserError("threshold_scale is for the threshold rules balanced and unit")
        if not rule.balances and self.balance_steps is not None:
            raise UserError("balance_steps are for the threshold rule balanced")
        if self.statistics not in get_args(NormStatistics):
            raise UserError(f"statistics are one of {', '.join(get_args(NormStatistics))}, not '{self.statistics}'")
        if self.lr == [] or self.max_epochs == []:
            raise UserError("a learning rate or a number of epochs is missing")
        _ = self.threshold_options, READOUTS.pick(self.readout), RULES.pick(self.learning)
        check_flags(self)
        check_numbers(self, lr=(0.0, MOST), clip=(0.0, MOST), activity_penalty=(0.0, MOST), keep_mb=(0.0, MOST))
        check_numbers(self, max_epochs=(0, MOST), patience=(0, MOST), calibration_batches=(0 if self.at_once else 1, MOST))
        check_numbers(self, passes=(1, MOST), fan_in=(1, MOST))
        if self.passes > 1 and self.learning != "tandem":
            raise UserError(f"layers learn by {self.learning} in one pass only; give passes 1, or the learning rule tandem")

    def check_window(self) -> None:
        """Refuse runs that are longer than those that layers are tuned in one after the other, or in tandem.

        Raises:
            UserError: they are.
        """
        if self.window > LONGEST and not self.at_once:
            raise UserError(
                f"layers are tuned in time windows of at most {LONGEST} steps, not {self.window}; to convert without tuning, "
                "set at_once"
            )

    def layer_lr(self, number: int) -> float:
        """Learning rate of a layer, counted on through the passes."""
        return _of_layer(self.lr, number)

    def layer_epochs(self, number: int) -> int:
        """Most epochs of a layer, counted likewise."""
        return _of_layer(self.max_epochs, number)

    @property
    def dynamics(self) -> Dynamics:
        """Settings that the neurons run by."""
        bits, neuron = (self.weight_bits, self.encoder_bits), (self.neuron, self.neuron_options)
        timing = self.window, self.initial_potential, self.schedule
        return Dynamics(*timing, *bits, *neuron, self.coding, self.coding_options)

    @property
    def threshold_options(self) -> ThresholdOptions:
        """Options that threshold rules heed."""
        bounds = self.percentile, self.channelwise, self.rate, self.dynamics.limits
        return ThresholdOptions(self.window, self.initial_potential, *bounds, self.threshold_scale, self.balance_steps)


def _of_layer(values: Value | list[Value], number: int) -> Value:
    return values[min(number, len(values) - 1)] if isinstance(values, list) else values
