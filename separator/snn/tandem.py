"""The layer under conversion: spikes forward, gradients through its analog twin (Wu et al. 2021, section 4.1)."""

import torch
from torch import Tensor, nn

from separator.snn.spiking import Role, Schedule, SpikingStage, per_channel
from separator.snn.stage import Stage


class TandemStage(nn.Module):
    """A spiking stage coupled to the analog stage that it shares its weights with.

    The output is spike count times threshold; its gradient goes unchanged to the analog twin, which sees the spike counts of
    the layer before. Batch statistics stay as they are, since the folded weights depend on them; the gain and bias learn.

    Args:
        stage: analog twin; its parameters are those of the spiking stage.
        role, unit, threshold, start, window, schedule: see `SpikingStage.convert`.
    """

    unit: Tensor
    threshold: Tensor

    def __init__(
        self,
        stage: Stage,
        role: Role,
        unit: Tensor,
        threshold: Tensor,
        start: float,
        window: int,
        schedule: Schedule = "pipelined",
    ) -> None:
        super().__init__()
        self.stage, self.role, self.start, self.window, self.schedule = stage, role, start, window, schedule
        self.register_buffer("unit", unit)
        self.register_buffer("threshold", threshold)

    def train(self, mode: bool = True) -> "TandemStage":
        """Training mode, but for batch normalisation."""
        super().train(mode)
        if self.stage.norm is not None:
            self.stage.norm.eval()
        return self

    def spiking(self) -> SpikingStage:
        """The spiking stage with the twin's present weights."""
        numbers = self.unit, self.threshold, self.start, self.window
        return SpikingStage.convert(self.stage, self.role, *numbers, self.schedule)

    def analog(self, signal: Tensor) -> Tensor:
        """What the analog twin sees: the input of an encoding stage, else the activation that the trains stand for."""
        if self.role == "encode":
            return signal
        counts = signal.sum(0)
        return counts * per_channel(self.unit, counts)

    def forward(self, signal: Tensor) -> Tensor:
        """Activation from analog input (B, ...) or spike trains (N_s, B, ...); of a readout, its membrane potential."""
        if self.role == "readout":
            # No spikes: the potential is the pre-activation of the twin, exactly (Eq. 9).
            return self.stage.preactivation(self.analog(signal))
        activation: Tensor = self.stage(self.analog(signal))
        with torch.no_grad():
            spiking = self.spiking()
            fired = spiking.activation(spiking.trains(signal))
        return activation + (fired - activation).detach()
