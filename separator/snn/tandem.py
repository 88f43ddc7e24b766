"""The layer under conversion: spikes forward, gradients through its analog twin (Wu et al. 2021, section 4.1)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from separator.snn.fold import Statistics
from separator.snn.quantised import straight_through
from separator.snn.spikes import Spikes
from separator.snn.spiking import Dynamics, Role, SpikingStage, per_channel
from separator.snn.stage import Stage


class Signal(NamedTuple):
    """What goes from stage to stage of a hybrid network: spikes, and beside them what they stand for."""

    activation: Tensor  # (B, ...), differentiable; of spiking stages count times threshold
    spikes: Spikes | None = None  # None where the sender is analog
    unit: Tensor | None = None  # activation that one spike stands for, the sender's threshold, (1,) or (C,)
    trains: Tensor | None = None  # (N_s, B, ...), 0 or 1, differentiable; in place of spikes where learning goes through time


class TandemStage(nn.Module):
    """A spiking stage coupled to the analog stage that it shares its weights with.

    The output is spike count times threshold; its gradient goes to the analog twin, which sees the spike counts of the layer
    before. As published it goes there unchanged. Where it is masked, or the threshold learns too, it goes as through a
    quantiser with a learned step (see `straight_through`): none to twins beyond the N_s spikes that a neuron can fire, and to
    the threshold what rounding adds. Statistics of batch norm stay as they are, since the folded weights depend on them; its
    gain and bias learn. A network that learns from the start has no statistics to keep: it takes those of each batch, for the
    twin as for the weights of the spiking stage, while the running ones, which evaluation takes, are learned as usual.

    Args:
        stage: analog twin; its parameters are those of the spiking stage.
        role, threshold, dynamics: see `SpikingStage.convert`.
        learn_threshold: whether it does.
        mask_gradient: whether neurons that fire at every step pass none.
        batch_statistics: normalise with the statistics of the batch in training mode.
        inherits: whether the spiking stage has the threshold of the one before, see `separator.snn.chains`.
    """

    base_threshold: Tensor

    def __init__(
        self,
        stage: Stage,
        role: Role,
        threshold: Tensor,
        dynamics: Dynamics,
        learn_threshold: bool = False,
        mask_gradient: bool = False,
        batch_statistics: bool = False,
        inherits: bool = False,
    ) -> None:
        super().__init__()
        self.stage, self.role, self.dynamics, self.inherits = stage, role, dynamics, inherits
        self.masked, self.batch_statistics = mask_gradient or learn_threshold, batch_statistics
        self.register_buffer("base_threshold", threshold)
        # Logarithmic, so that a step of learning is relative and a threshold stays positive.
        self.gain = nn.Parameter(torch.zeros_like(threshold), requires_grad=learn_threshold)

    @property
    def threshold(self) -> Tensor:
        """Threshold as it is now, (1,) or (C_out,)."""
        return self.base_threshold * self.gain.exp()

    def train(self, mode: bool = True) -> "TandemStage":
        """Training mode, but for layers without neurons, such as dropout, and batch norm that keeps its statistics."""
        super().train(mode)
        for stage in self.stage.with_shortcut():
            stage.before.eval()
            if stage.norm is not None:
                stage.norm.train(mode and self.batch_statistics)
        return self

    def spiking(self, unit: Tensor | None, *statistics: Statistics | None) -> SpikingStage:
        """The spiking stage with the twin's present weights, where an incoming spike stands for `unit`.

        Batch norm, its own and that of its shortcut, is folded in with the running statistics, or with those given.
        """
        unit = torch.ones_like(self.base_threshold[:1]) if unit is None else unit
        threshold = unit if self.inherits else self.threshold
        return SpikingStage.convert(self.stage, self.role, unit, threshold, self.dynamics, *statistics)

    def _batch_statistics(self, x: Tensor, sums: Tensor) -> tuple[Statistics, ...]:
        """Statistics that batch norm takes of a batch, and that of a shortcut of its own."""
        shortcut = self.stage.shortcut
        return Statistics.of(sums), *([Statistics.of(shortcut.sums(x))] if isinstance(shortcut, Stage) else [])

    def forward(self, signal: Signal) -> Signal:
        """Spikes and activation from those of the stage before; of a readout, its membrane potential as activation."""
        sums = self.stage.sums(signal.activation)
        z = self.stage.joined(sums, signal.activation)
        with torch.no_grad():
            by_batch = self.training and self.batch_statistics
            spiking = self.spiking(signal.unit, *(self._batch_statistics(signal.activation, sums) if by_batch else ()))
            if self.role == "readout":
                assert signal.spikes is not None  # a readout is never the first stage
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
        return Signal(fired + (twin - twin.detach()), spikes, spiking.unit)
