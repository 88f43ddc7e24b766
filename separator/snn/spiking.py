"""Spiking stages: what a layer is after conversion."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.affine import AffineMap, affine_map
from separator.snn.event_driven import event_driven
from separator.snn.fold import folded
from separator.snn.grid import grid_step, potential_bound, snap, weight_step
from separator.snn.neuron import IFParameters, count_charge, integrate_and_fire
from separator.snn.spikes import LONGEST, Spikes
from separator.snn.stage import Stage

# What a stage does in the spiking network: the first one turns analog input into spikes, the last one is read out.
Role = Literal["encode", "fire", "readout"]

# When a stage fires: while its input arrives (as published; the result is there after N_s steps), or once all of its input is
# in (no spike comes too early, so that counts are exact; the result is there after N_s steps per stage).
Schedule = Literal["pipelined", "layer-by-layer"]


@dataclass(frozen=True)
class Dynamics:
    """How the neurons of a stack run."""

    window: int  # time steps N_s
    start: float = 0.0  # start potential in thresholds
    schedule: Schedule = "pipelined"
    weight_bits: int | None = None  # of weights as signed integers; None for as many as sums stay exact with

    def __post_init__(self) -> None:
        if not 1 <= self.window <= LONGEST:
            raise UserError(f"the time window is 1 to {LONGEST} steps, not {self.window}")
        if not 0 <= self.start < 1:
            raise UserError(f"the start potential is 0 to below 1 threshold, not {self.start}")
        if self.weight_bits is not None and not 2 <= self.weight_bits <= 16:
            raise UserError(f"weights have 2 to 16 bits, not {self.weight_bits}")


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """(C,) or (1,) shaped to broadcast against (B, C, ...)."""
    return values.view(-1, *[1] * (like.dim() - 2))


def _per_input(unit: Tensor, weight: Tensor) -> Tensor:
    return unit.view(1, -1, *[1] * (weight.dim() - 2))


def charge_step(threshold: Tensor, window: int) -> Tensor:
    """Grid of an encoding stage, whose potentials never leave the range of the clipped charge."""
    return grid_step((window + 2) * threshold)


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
        dynamics: how the neurons run; `neurons` has their start potential on the grid.
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
        dynamics: Dynamics,
    ) -> None:
        super().__init__()
        self.apply_affine, self.role, self.dynamics = apply, role, dynamics
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("threshold", neurons.threshold)
        self.register_buffer("start", neurons.start)

    @classmethod
    def convert(cls, stage: Stage, role: Role, unit: Tensor, threshold: Tensor, dynamics: Dynamics) -> "SpikingStage":
        """Convert an analog stage, batch norm folded in.

        Args:
            stage: the stage.
            role: its role in the spiking network.
            unit: activation that an incoming spike stands for, the threshold of the stage before, (1,) or (C_in,).
            threshold: a_u / N_s, (1,) or (C_out,).
            dynamics: how its neurons run.
        """
        weight, bias = (x.detach() for x in folded(stage))
        if role != "encode":
            weight, bias = weight * _per_input(unit, weight), bias / dynamics.window
        return cls.on_grid(affine_map(stage.affine), role, weight, bias, threshold.detach(), dynamics)

    @classmethod
    def on_grid(
        cls, apply: AffineMap, role: Role, weight: Tensor, bias: Tensor, threshold: Tensor, dynamics: Dynamics
    ) -> "SpikingStage":
        """A stage with its numbers snapped to their grid, else as the class."""
        threshold = threshold.expand(len(weight))
        if role == "encode":
            step = charge_step(threshold, dynamics.window)  # weights stay analog
        else:
            step = grid_step(potential_bound(weight, bias, threshold, dynamics.window))
            if dynamics.weight_bits is not None:
                step = torch.maximum(step, weight_step(weight, dynamics.weight_bits))
            weight, bias = snap(weight, step), snap(bias, step)
        # At least one grid step, since a neuron with threshold 0 would fire for ever on nothing.
        threshold = torch.maximum(snap(threshold, step), step.to(threshold.dtype))
        neurons = IFParameters(threshold, snap(threshold * dynamics.start, step))
        return cls(apply, role, weight, bias, neurons, dynamics)

    @property
    def window(self) -> int:
        """Time steps N_s."""
        return self.dynamics.window

    def analog(self, unit: Tensor | None) -> Stage:
        """The analog stage that this one converts from where a spike stands for `unit`, None if its input is analog."""
        weight, bias = self.weight, self.bias
        if unit is not None:
            weight, bias = weight / _per_input(unit, weight), bias * self.window
        return Stage(self.apply_affine.module(weight, bias))

    def with_window(self, window: int) -> "SpikingStage":
        """The same layer for another time window: thresholds are the same upper bounds over another number of steps."""
        ratio = self.window / window
        scale = 1.0 if self.role == "encode" else ratio
        numbers = self.weight * scale, self.bias * scale, self.threshold * ratio
        return SpikingStage.on_grid(self.apply_affine, self.role, *numbers, replace(self.dynamics, window=window))

    def neurons(self, like: Tensor) -> IFParameters:
        """Parameters of the neurons, shaped to broadcast against (B, C_out, ...)."""
        return IFParameters(per_channel(self.threshold, like), per_channel(self.start, like))

    def charge(self, x: Tensor) -> Tensor:
        """What the encoding stage's neurons are charged with at the first step. Shape: (B, ...) -> (B, ...).

        It is snapped to the grid once, here, and clipped to where more would change no spike.
        """
        charge = self.apply_affine(x, self.weight, self.bias)
        ceiling = per_channel(self.threshold, charge) * (self.window + 1)
        step = per_channel(charge_step(self.threshold, self.window), charge).to(charge.dtype)
        return torch.round(charge.clamp(-ceiling, ceiling) / step) * step

    def current(self, spikes: Tensor) -> Tensor:
        """Synaptic current of one time step, constant current included (Eq. 3). Shape: (B, ...) -> (B, ...)."""
        return self.apply_affine(spikes, self.weight, self.bias)

    def potential(self, spikes: Spikes) -> Tensor:
        """Free aggregate membrane potential after the whole window (Eq. 9). Shape: spikes (B, ...) -> (B, ...).

        One application of the map to the spike counts; on the grid that is exactly the sum of the currents.
        """
        free = self.apply_affine(spikes.counts.to(self.weight.dtype), self.weight, None)
        return free + per_channel(self.bias * self.window, free)

    def encode(self, x: Tensor) -> Spikes:
        """Spikes of an encoding stage on analog input (B, ...)."""
        return self._fire_at_once(self.charge(x))

    def fire(self, spikes: Spikes) -> Spikes:
        """Spikes fired on the incoming ones, by the fastest execution there is for them."""
        if self.dynamics.schedule == "layer-by-layer":
            return self._fire_at_once(self.potential(spikes))
        if self._event_driven is not None:
            return self._event_driven(spikes)
        trains = spikes.trains().to(self.weight.dtype)
        flat = self.current(trains.flatten(0, 1).contiguous())  # time folded into the batch
        currents = flat.view(self.window, -1, *flat.shape[1:])
        return Spikes.pack(integrate_and_fire(currents, self.neurons(currents[0])))

    def activation(self, spikes: Spikes) -> Tensor:
        """Analog activation that spikes stand for, count times threshold. Shape: (B, ...)."""
        return spikes.counts * per_channel(self.threshold, spikes.counts)

    def _fire_at_once(self, charge: Tensor) -> Spikes:
        return Spikes(self.window, counts=count_charge(charge, self.neurons(charge), self.window))

    @cached_property
    def _event_driven(self) -> Callable[[Spikes], Spikes] | None:
        """The event-driven execution; None for layers that it does not serve."""
        numbers = self.weight, self.bias, IFParameters(self.threshold, self.start)
        return event_driven(self.apply_affine, *numbers, self.window)

    def _forget_layout(self) -> None:
        self.__dict__.pop("_event_driven", None)

    def _apply(self, *args: Any, **kwargs: Any) -> "SpikingStage":
        self._forget_layout()
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._forget_layout()
        super()._load_from_state_dict(*args, **kwargs)
