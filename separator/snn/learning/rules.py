"""Learning rules by name: what makes a spiking layer that learns of an analog one."""

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics, Role
from separator.snn.learning.stdb.layer import StdbLayer
from separator.snn.learning.stdb.options import StdbOptions
from separator.snn.learning.surrogate import Surrogate, SurrogateLayer
from separator.snn.learning.tandem import TandemLayer
from separator.snn.registry import Registry


@dataclass(frozen=True)
class LearningOptions:
    """Options that learning rules may heed."""

    learn_thresholds: bool = False
    mask_gradient: bool = False  # none to neurons that fire at every step
    batch_statistics: bool = False  # normalise with the statistics of the batch in training mode
    surrogate: Surrogate = field(default_factory=Surrogate)  # derivative of a spike, of the rule surrogate
    stdb: StdbOptions = field(default_factory=StdbOptions)  # the same, of the rule stdb
    learn_leak: bool = False
    segment: int | None = None  # steps that gradients go back through at most; None for all


class LearningRule(Protocol):
    """Makes a layer that spikes and learns, a `TandemLayer` or one like it."""

    def __call__(
        self,
        layer: AnalogLayer,
        role: Role,
        threshold: Tensor,
        dynamics: Dynamics,
        options: LearningOptions,
        inherits: bool = False,
    ) -> TandemLayer:
        """The layer in the place of an analog one; see `TandemLayer`. One that inherits its threshold learns none."""


def tandem(
    layer: AnalogLayer, role: Role, threshold: Tensor, dynamics: Dynamics, options: LearningOptions, inherits: bool = False
) -> TandemLayer:
    """Tandem learning: gradients through an analog twin."""
    learns = options.learn_thresholds and role != "readout" and not inherits
    return TandemLayer(layer, role, threshold, dynamics, learns, options.mask_gradient, options.batch_statistics, inherits)


def through_time(
    layer: AnalogLayer, role: Role, threshold: Tensor, dynamics: Dynamics, options: LearningOptions, inherits: bool = False
) -> SurrogateLayer:
    """Backpropagation through time with a surrogate for the derivative of a spike."""
    how = options.surrogate, options.batch_statistics, options.segment
    return SurrogateLayer(layer, role, threshold, dynamics, *how, inherits)


def stdb(
    layer: AnalogLayer, role: Role, threshold: Tensor, dynamics: Dynamics, options: LearningOptions, inherits: bool = False
) -> StdbLayer:
    """Spike-timing-dependent backpropagation, from one bit for each neuron and step.

    Raises:
        UserError: batch norm goes by the batch, which takes all steps of all of it at once.
    """
    if options.batch_statistics and any(part.norm is not None for part in layer.with_shortcut()):
        raise UserError("by stdb learn networks without batch norm, or with one that keeps its statistics; leave it out")
    learns = options.learn_thresholds and role != "readout" and not inherits
    return StdbLayer(layer, role, threshold, dynamics, options.stdb, learns, options.learn_leak, options.segment, inherits)


RULES: Registry[LearningRule] = Registry("learning rule", {"tandem": tandem, "surrogate": through_time, "stdb": stdb})
