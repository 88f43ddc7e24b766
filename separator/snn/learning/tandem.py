"""The layer under conversion: spikes forward, gradients through its analog twin (Wu et al. 2021, section 4.1)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer, activated
from separator.snn.layers.dynamics import Dynamics, Role
from separator.snn.layers.fold import Statistics
from separator.snn.layers.quantised import straight_through
from separator.snn.layers.shapes import per_channel
from separator.snn.layers.signal import Signal
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.spikes.trains import LONGEST


class TandemLayer(nn.Module):
    """A spiking layer coupled to the analog layer that it shares its weights with.

    The output is the sum of the spikes times threshold; its gradient goes to the analog twin, which sees the spikes of the
    layer before, through the activation that the spikes stand for: of neurons with two thresholds, the slope that these have.
    As published it goes there unchanged. Where it is masked, or the threshold learns too, it goes on as through a quantiser
    with a learned step (see `straight_through`): none to twins beyond the spikes that a neuron can fire, of either sign if it
    has two, and to the threshold what rounding adds. Statistics of batch norm stay as they are, since the folded weights
    depend on them; its gain and bias learn. A network that learns from the start has no statistics to keep: it takes those of
    each batch, for the twin as for the weights of the spiking layer, while the running ones, which evaluation takes, are
    learned as usual.

    Args:
        layer: analog twin; its parameters are those of the spiking layer.
        role, threshold, dynamics: see `SpikingLayer.convert`.
        learn_threshold: whether it does.
        mask_gradient: whether neurons that fire at every step pass none.
        batch_statistics: normalise with the statistics of the batch in training mode.
        inherits: whether the spiking layer has the threshold of the one before, see `separator.snn.stack.chains`.

    Raises:
        UserError: runs are longer than a window.
    """

    longest: ClassVar[int] = LONGEST  # time steps of a run
    base_threshold: Tensor

    def __init__(
        self,
        layer: AnalogLayer,
        role: Role,
        threshold: Tensor,
        dynamics: Dynamics,
        learn_threshold: bool = False,
        mask_gradient: bool = False,
        batch_statistics: bool = False,
        inherits: bool = False,
    ) -> None:
        super().__init__()
        if dynamics.window > self.longest:
            raise UserError(f"layers learn in time windows of at most {self.longest} steps, not {dynamics.window}")
        self.layer, self.role, self.dynamics, self.inherits = layer, role, dynamics, inherits
        self.masked, self.batch_statistics = mask_gradient or learn_threshold, batch_statistics
        self.register_buffer("base_threshold", threshold)
        # Logarithmic, so that a step of learning is relative and a threshold stays positive.
        self.gain = nn.Parameter(torch.zeros_like(threshold), requires_grad=learn_threshold)

    @property
    def threshold(self) -> Tensor:
        """Threshold as it is now, (1,) or (C_out,)."""
        return self.base_threshold * self.gain.exp()

    def train(self, mode: bool = True) -> "TandemLayer":
        """Training mode, but for layers without neurons, such as dropout, and batch norm that keeps its statistics."""
        super().train(mode)
        for layer in self.layer.with_shortcut():
            layer.before.eval()
            if layer.norm is not None:
                layer.norm.train(mode and self.batch_statistics)
        return self

    def spiking(self, scale: Tensor | None, *statistics: Statistics | None, beside: Tensor | None = None) -> SpikingLayer:
        """The spiking layer with the twin's present weights.

        Args:
            scale: what an incoming spike stands for, None if the input is analog.
            statistics: for its batch norm, and that of its shortcut, in place of the running ones.
            beside: what a spike stands for that the shortcut sees, if it sees others.
        """
        scale = torch.ones_like(self.base_threshold[:1]) if scale is None else scale
        threshold = scale if self.inherits else self.threshold
        return SpikingLayer.convert(self.layer, self.role, scale, threshold, self.present_dynamics, statistics, beside)

    @property
    def present_dynamics(self) -> Dynamics:
        """How the neurons run as they are now."""
        return self.dynamics

    def _batch_statistics(self, beside: Tensor, sums: Tensor) -> tuple[Statistics, ...]:
        """Statistics that batch norm takes of a batch, and that of a shortcut of its own."""
        shortcut = self.layer.shortcut
        return Statistics.of(sums), *([Statistics.of(shortcut.sums(beside))] if isinstance(shortcut, AnalogLayer) else [])

    def forward(self, signal: Signal, beside: Signal | None = None) -> Signal:
        """Spikes and activation from those of the layer before; of a readout, its membrane potential as activation."""
        other = signal if beside is None else beside
        sums = self.layer.sums(signal.activation)
        z = self.layer.joined(sums, other.activation)
        with torch.no_grad():
            by_batch = self.training and self.batch_statistics
            statistics = self._batch_statistics(other.activation, sums) if by_batch else ()
            spiking = self.spiking(signal.scale, *statistics, beside=None if beside is None else beside.scale)
            outcome = spiking.run(
                signal.activation if signal.spikes is None else signal.spikes, None if beside is None else beside.spikes
            )
            stands_for = outcome if isinstance(outcome, Tensor) else spiking.activation(outcome)
        if isinstance(outcome, Tensor):
            return Signal(outcome + (z - z.detach()))
        twin = activated(z, spiking.stands_for)
        if self.masked:
            limits = spiking.neuron.limits(self.dynamics.window)
            passed = straight_through(twin, per_channel(self.threshold, z), outcome.values, limits, stands_for)
        else:
            passed = stands_for + (twin - twin.detach())
        return Signal(passed, outcome, spiking.scale)
