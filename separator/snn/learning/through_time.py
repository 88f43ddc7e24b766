"""What layers that learn through time have in common, whatever stands for the derivative of a spike."""

from typing import ClassVar

import torch
from torch import Tensor

from separator.errors import UserError
from separator.snn.coding.inputs import CurrentCoding
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import MOST_STEPS, Dynamics, Role
from separator.snn.layers.signal import Signal, currents_of
from separator.snn.learning.segments import ends_of, readings_of
from separator.snn.learning.tandem import TandemLayer


class ThroughTimeLayer(TandemLayer):
    """A spiking layer that learns through time, with the weights of the analog layer that it will be converted from.

    In training it runs in floating point, step by step. In evaluation it is the spiking layer itself, without gradient:
    roundings, which differ between the two in one count of 10,000 at the first layer, have others differ at every further one,
    so that deep networks are to be chosen by integers.

    Args:
        layer, role, threshold, dynamics, learn_threshold, batch_statistics, inherits: see `TandemLayer`.
        segment: steps that gradients go back through at most, from the end of each segment; None for all.

    Raises:
        UserError: layers wait for all of their input, so that no spike has a time.
    """

    longest: ClassVar[int] = MOST_STEPS

    def __init__(
        self,
        layer: AnalogLayer,
        role: Role,
        threshold: Tensor,
        dynamics: Dynamics,
        learn_threshold: bool = False,
        batch_statistics: bool = False,
        segment: int | None = None,
        inherits: bool = False,
    ) -> None:
        if dynamics.schedule != "pipelined":
            raise UserError(f"learning through time needs the schedule 'pipelined', not '{dynamics.schedule}'")
        self.ends = ends_of(dynamics.window, segment)
        super().__init__(
            layer, role, threshold, dynamics, learn_threshold, batch_statistics=batch_statistics, inherits=inherits
        )

    def forward(self, signal: Signal, beside: Signal | None = None) -> Signal:
        """Spikes of each step from those of the layer before; of a readout, its membrane potential as activation."""
        if not self.training:
            return self._evaluated(signal, beside)
        currents = self._currents(signal, beside)
        if self.role == "readout":
            readings = readings_of(currents, self.ends)
            return Signal(readings[-1], readings=readings)
        over_time, threshold = self._fire(currents, signal)
        return Signal(over_time.sum(0) * threshold, scale=self.threshold, trains=over_time)

    def _fire(self, currents: list[Tensor], signal: Signal) -> tuple[Tensor, Tensor]:
        """Spikes (N_s, B, ...) on currents (B, ...) of each step, differentiable, and what one of them stands for."""
        raise NotImplementedError

    @torch.no_grad()
    def _evaluated(self, signal: Signal, beside: Signal | None) -> Signal:
        spiking = self.spiking(signal.scale, beside=None if beside is None else beside.scale)
        incoming = signal.activation if signal.spikes is None else signal.spikes
        outcome = spiking.run(incoming, None if beside is None else beside.spikes)
        return Signal(outcome) if isinstance(outcome, Tensor) else Signal(spiking.activation(outcome), outcome, spiking.scale)

    def _currents(self, signal: Signal, beside: Signal | None) -> list[Tensor]:
        """Synaptic current of each step, (B, ...) each."""
        window = self.dynamics.window
        if signal.trains is None and signal.spikes is None:
            charge = self.layer.preactivation(signal.activation)
            return [charge if share == 1 else charge * share if share else torch.zeros_like(charge) for share in self.shares]
        return list(currents_of(self.layer, signal, beside, window))

    @property
    def shares(self) -> list[float]:
        """Shares of the charge that a layer with analog input gets at each step.

        Raises:
            UserError: the input is coded by spikes.
        """
        coding, window = self.dynamics.input_coding, self.dynamics.window
        if not isinstance(coding, CurrentCoding):
            raise UserError(f"analog input is learned from as currents, not coded by '{self.dynamics.coding}'")
        return [float(coding.share(t, window)) for t in range(window)]
