"""The layer under conversion: spikes forward, gradients through its analog twin (Wu et al. 2021, section 4.1)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.fold import Statistics
from separator.snn.layers.quantised import straight_through
from separator.snn.layers.spiking import Dynamics, Role, SpikingLayer, per_channel
from separator.snn.spikes.binary import Spikes


class Signal(NamedTuple):
    """What goes from layer to layer of a hybrid network: spikes, and beside them what they stand for."""

    activation: Tensor  # (B, ...), differentiable; of spiking layers count times threshold
    spikes: Spikes | None = None  # None where the sender is analog
    scale: Tensor | None = None  # activation that one spike stands for, the sender's threshold, (1,) or (C,)
    trains: Tensor | None = None  # (N_s, B, ...), 0 or 1, differentiable; in place of spikes where learning goes through time


class TandemLayer(nn.Module):
    """A spiking layer coupled to the analog layer that it shares its weights with.

    The output is spike count times threshold; its gradient goes to the analog twin, which sees the spike counts of the layer
    before. As published it goes there unchanged. Where it is masked, or the threshold learns too, it goes as through a
    quantiser with a learned step (see `straight_through`): none to twins beyond the N_s spikes that a neuron can fire, and to
    the threshold what rounding adds. Statistics of batch norm stay as they are, since the folded weights depend on them; its
    gain and bias learn. A network that learns from the start has no statistics to keep: it takes those of each batch, for the
    twin as for the weights of the spiking layer, while the running ones, which evaluation takes, are learned as usual.

    Args:
        layer: analog twin; its parameters are those of the spiking layer.
        role, threshold, dynamics: see `SpikingLayer.convert`.
        learn_threshold: whether it does.
        mask_gradient: whether neurons that fire at every step pass none.
        batch_statistics: normalise with the statistics of the batch in training mode.
        inherits: whether the spiking layer has the threshold of the one before, see `separator.snn.stack.chains`.
    """

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

    def spiking(self, scale: Tensor | None, *statistics: Statistics | None) -> SpikingLayer:
        """The spiking layer with the twin's present weights, where an incoming spike stands for `scale`.

        Batch norm, its own and that of its shortcut, is folded in with the running statistics, or with those given.
        """
        scale = torch.ones_like(self.base_threshold[:1]) if scale is None else scale
        threshold = scale if self.inherits else self.threshold
        return SpikingLayer.convert(self.layer, self.role, scale, threshold, self.dynamics, *statistics)

    def _batch_statistics(self, x: Tensor, sums: Tensor) -> tuple[Statistics, ...]:
        """Statistics that batch norm takes of a batch, and that of a shortcut of its own."""
        shortcut = self.layer.shortcut
        return Statistics.of(sums), *([Statistics.of(shortcut.sums(x))] if isinstance(shortcut, AnalogLayer) else [])

    def forward(self, signal: Signal) -> Signal:
        """Spikes and activation from those of the layer before; of a readout, its membrane potential as activation."""
        sums = self.layer.sums(signal.activation)
        z = self.layer.joined(sums, signal.activation)
        with torch.no_grad():
            by_batch = self.training and self.batch_statistics
            spiking = self.spiking(signal.scale, *(self._batch_statistics(signal.activation, sums) if by_batch else ()))
            if self.role == "readout":
                assert signal.spikes is not None  # a readout is never the first layer
                potential = spiking.potential(signal.spikes)
            else:
                spikes = spiking.encode(signal.activation) if signal.spikes is None else spiking.fire(signal.spikes)
                fired = spiking.activation(spikes)
        if self.role == "readout":
            return Signal(potential + (z - z.detach()))
        if self.masked:
            twin = straight_through(z, per_channel(self.threshold, z), spikes.counts, self.dynamics.window)
        else:
            twin = z.relu()
        return Signal(fired + (twin - twin.detach()), spikes, spiking.scale)
