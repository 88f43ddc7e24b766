"""Spiking stages: what a layer is after conversion."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from separator.snn.fold import folded
from separator.snn.grid import grid_step, potential_bound, snap
from separator.snn.neuron import IFParameters, fire_charge, integrate_and_fire
from separator.snn.stage import Affine, Stage

# What a stage does in the spiking network: the first one turns analog input into spikes, the last one is read out.
Role = Literal["encode", "fire", "readout"]

# When a stage fires: while its input arrives (as published; the result is there after N_s steps), or once all of its input is
# in (no spike comes too early, so that counts are exact; the result is there after N_s steps per stage).
Schedule = Literal["pipelined", "layer-by-layer"]

AffineMap = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # (input, weight, bias) -> output


def affine_map(affine: Affine) -> AffineMap:
    """The affine layer as a function of input, weight and bias.

    Raises:
        ValueError: padding other than zeros.
    """
    if isinstance(affine, nn.Linear):
        return F.linear
    if affine.padding_mode != "zeros":
        raise ValueError(f"{affine} pads with '{affine.padding_mode}'; only zero padding can be converted")
    convolve: Callable[..., Tensor] = F.conv1d if isinstance(affine, nn.Conv1d) else F.conv2d
    geometry = affine.stride, affine.padding, affine.dilation, affine.groups
    return lambda x, weight, bias: convolve(x, weight, bias, *geometry)


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """(C,) or (1,) shaped to broadcast against (B, C, ...)."""
    return values.view(-1, *[1] * (like.dim() - 2))


def charge_step(threshold: Tensor, window: int) -> float:
    """Grid of an encoding stage, whose potentials never leave the range of the clipped charge."""
    return grid_step(float((window + 2) * threshold.max()))


class SpikingStage(nn.Module):
    """A converted layer: frozen weights, a constant current and integrate-and-fire neurons.

    Numbers are in units of the analog network's activation: an incoming spike carries the threshold of the neuron that fired
    it, folded into the weights (section 3.2), so that the free aggregate membrane potential (Eq. 9) is the analog
    pre-activation, and spike count times threshold the activation. All lie on a grid (see `separator.snn.grid`).

    Args:
        apply: the affine map without its numbers.
        role: encode (charged at the first step with an analog pre-activation), fire, or readout (never fires).
        weight: as the affine layer's; what a spike adds, for `encode` the analog weights.
        bias: (C_out,), current per time step; for `encode` the analog bias.
        neurons: threshold and start potential, each (1,) or (C_out,); unused by `readout`.
        window: time steps N_s.
        schedule: when it fires.
    """

    weight: Tensor
    bias: Tensor
    threshold: Tensor
    start: Tensor

    def __init__(
        self,
        apply: AffineMap,
        role: Role,
        weight: Tensor,
        bias: Tensor,
        neurons: IFParameters,
        window: int,
        schedule: Schedule = "pipelined",
    ) -> None:
        super().__init__()
        if window < 1:
            raise ValueError(f"a time window has at least 1 step, not {window}")
        self.apply_affine, self.role, self.window, self.schedule = apply, role, window, schedule
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("threshold", neurons.threshold)
        self.register_buffer("start", neurons.start)

    @classmethod
    def convert(
        cls,
        stage: Stage,
        role: Role,
        unit: Tensor,
        threshold: Tensor,
        start: float,
        window: int,
        schedule: Schedule = "pipelined",
    ) -> "SpikingStage":
        """Convert an analog stage, batch norm folded in.

        Args:
            stage: the stage.
            role: its role in the spiking network.
            unit: activation that an incoming spike stands for, the threshold of the stage before, (1,) or (C_in,).
            threshold: a_u / N_s, (1,) or (C_out,).
            start: start potential in thresholds.
            window: time steps N_s.
            schedule: when it fires.
        """
        weight, bias = (x.detach() for x in folded(stage))
        if role != "encode":
            weight, bias = weight * unit.view(1, -1, *[1] * (weight.dim() - 2)), bias / window
        apply = affine_map(stage.affine)
        return cls.on_grid(apply, role, weight, bias, threshold.detach(), start, window, schedule)

    @classmethod
    def on_grid(
        cls,
        apply: AffineMap,
        role: Role,
        weight: Tensor,
        bias: Tensor,
        threshold: Tensor,
        start: float,
        window: int,
        schedule: Schedule,
    ) -> "SpikingStage":
        """A stage with its numbers snapped to their grid; `start` in thresholds, else as the class."""
        if role == "encode":
            step = charge_step(threshold, window)  # weights stay analog
        else:
            step = grid_step(potential_bound(weight, bias, threshold, window))
            weight, bias = snap(weight, step), snap(bias, step)
        # At least one grid step, since a neuron with threshold 0 would fire for ever on nothing.
        threshold = snap(threshold, step).clamp_min(step)
        neurons = IFParameters(threshold, snap(threshold * start, step))
        return cls(apply, role, weight, bias, neurons, window, schedule)

    def with_window(self, window: int) -> "SpikingStage":
        """The same layer for another time window: thresholds are the same upper bounds over another number of steps."""
        ratio = self.window / window
        scale = 1.0 if self.role == "encode" else ratio
        start = float(self.start[0] / self.threshold[0])
        weight, bias, threshold = self.weight * scale, self.bias * scale, self.threshold * ratio
        return SpikingStage.on_grid(self.apply_affine, self.role, weight, bias, threshold, start, window, self.schedule)

    def neurons(self, like: Tensor) -> IFParameters:
        """Parameters of the neurons, shaped to broadcast against (B, C_out, ...)."""
        return IFParameters(per_channel(self.threshold, like), per_channel(self.start, like))

    def charge(self, x: Tensor) -> Tensor:
        """What the encoding stage's neurons are charged with at the first step. Shape: (B, ...) -> (B, ...).

        It is snapped to the grid once, here, and clipped to where more would change no spike.
        """
        charge = self.apply_affine(x, self.weight, self.bias)
        ceiling = per_channel(self.threshold, charge) * (self.window + 1)
        return snap(charge.clamp(-ceiling, ceiling), charge_step(self.threshold, self.window))

    def current(self, spikes: Tensor) -> Tensor:
        """Synaptic current of one time step, constant current included (Eq. 3). Shape: (B, ...) -> (B, ...)."""
        return self.apply_affine(spikes, self.weight, self.bias)

    def potential(self, trains: Tensor) -> Tensor:
        """Free aggregate membrane potential after the whole window (Eq. 9). Shape: (N_s, B, ...) -> (B, ...).

        One application of the map to the spike counts; on the grid that is exactly the sum of the currents.
        """
        free = self.apply_affine(trains.sum(0), self.weight, None)
        return free + per_channel(self.bias * self.window, free)

    def trains(self, signal: Tensor) -> Tensor:
        """All spike trains at once: analog input (B, ...) or incoming trains (N_s, B, ...) -> (N_s, B, ...)."""
        if self.role == "encode" or self.schedule == "layer-by-layer":
            charge = self.charge(signal) if self.role == "encode" else self.potential(signal)
            return fire_charge(charge, self.neurons(charge), self.window)
        flat = self.current(signal.flatten(0, 1))  # time folded into the batch
        currents = flat.view(*signal.shape[:2], *flat.shape[1:])
        return integrate_and_fire(currents, self.neurons(currents[0]))

    def activation(self, trains: Tensor) -> Tensor:
        """Analog activation that spike trains stand for, count times threshold. Shape: (N_s, B, ...) -> (B, ...)."""
        counts = trains.sum(0)
        return counts * per_channel(self.threshold, counts)
