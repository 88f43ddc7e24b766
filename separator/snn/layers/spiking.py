"""Spiking layers: what a layer is after conversion, in integers."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from separator.errors import DivergedError, UserError
from separator.snn.execution.chosen import chosen_execution
from separator.snn.execution.event_driven import EventDriven, event_driven
from separator.snn.integers.products import Product, Work, as_it_is, joint_sums, matrix_product, product_of
from separator.snn.integers.quanta import every_bit, in_quanta, potential_bound, potential_quantum, snap, weight_quantum
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.fold import Statistics, folded, folded_shortcut
from separator.snn.neurons.integrate_and_fire import IFParameters, count_charge, integrate_and_fire
from separator.snn.spikes.binary import LONGEST, Spikes
from separator.snn.synapses.affine import AffineMap
from separator.snn.synapses.incoming import IncomingMap, merged_weight

# What a layer does in the spiking network: the first one turns analog input into spikes, the last one is read out.
Role = Literal["encode", "fire", "readout"]

# When a layer fires: while its input arrives (as published; the result is there after N_s steps), or once all of its input is
# in (no spike comes too early, so that counts are exact; the result is there after N_s steps per layer).
Schedule = Literal["pipelined", "layer-by-layer"]


@dataclass(frozen=True)
class Dynamics:
    """How the neurons of a stack run."""

    window: int  # time steps N_s
    initial_potential: float = 0.0  # initial potential in thresholds
    schedule: Schedule = "pipelined"
    weight_bits: int | None = None  # of weights as signed integers; None for as many as sums stay exact with
    encoder_bits: int = 16  # of the weights of the encoding layer, whose input is analog

    def __post_init__(self) -> None:
        if not 1 <= self.window <= LONGEST:
            raise UserError(f"the time window is 1 to {LONGEST} steps, not {self.window}")
        if not 0 <= self.initial_potential < 1:
            raise UserError(f"the initial potential is 0 to below 1 threshold, not {self.initial_potential}")
        if self.weight_bits is not None and not 2 <= self.weight_bits <= 16:
            raise UserError(f"weights have 2 to 16 bits, not {self.weight_bits}")
        if not 2 <= self.encoder_bits <= 16:
            raise UserError(f"weights of the encoding layer have 2 to 16 bits, not {self.encoder_bits}")


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """(C,) or (1,) shaped to broadcast against (B, C, ...)."""
    return values.view(-1, *[1] * (like.dim() - 2))


def _plus(sums: Tensor, values: Tensor) -> Tensor:
    return sums + per_channel(values.to(sums.dtype), sums)


def _in_input_quanta(x: Tensor) -> Tensor:
    return (x.float() / INPUT_QUANTUM).clamp_(-INPUT_LIMIT, INPUT_LIMIT).round_()


def _per_input(scale: Tensor, weight: Tensor) -> Tensor:
    if len(scale) > weight.shape[1]:  # each group of outputs sees a group of inputs of its own
        groups = scale.view(-1, weight.shape[1])
        return groups.repeat_interleave(len(weight) // len(groups), 0).view(len(weight), -1, *[1] * (weight.dim() - 2))
    if len(scale) not in (1, weight.shape[1]):  # channels that have been flattened
        scale = scale.repeat_interleave(weight.shape[1] // len(scale))
    return scale.view(1, -1, *[1] * (weight.dim() - 2))


def _per_output(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (weight.dim() - 1))


# The encoding layer reads its input in these quanta, up to so many, and has weights of at most 16 bits. Its sums of up to 2^13
# inputs are then exact in 64-bit floating point, and what rounding errors before it may differ in is rounded away.
INPUT_QUANTUM, INPUT_LIMIT = 2.0**-14, 2.0**24
LARGEST = 2.0**64  # weight, current and threshold in units of activation, far from where quanta overflow


def integer_type(bits: int | None) -> torch.dtype:
    """Smallest type that holds signed integers of so many bits, at most 16; None for as many as there are."""
    return torch.int32 if bits is None else torch.int16 if bits > 8 else torch.int8


class SpikingLayer(nn.Module):
    """A converted layer: frozen weights, a constant current and integrate-and-fire neurons, in integers.

    Each neuron counts in quanta of its own, a power of two of the analog network's activation; see
    `separator.snn.integers.quanta`.
    An incoming spike carries the threshold of the neuron that fired it, folded into the weights (section 3.2), so that the
    free aggregate membrane potential (Eq. 9) times the quantum is the analog pre-activation, and spike count times `scale` the
    activation. `separator.snn.execution.reference` says in plain integer arithmetic what a layer computes.

    A population may have a second incoming map, a shortcut, of the same spikes and in the same quanta: the identity, through
    which a spike adds the threshold of the neuron that fired it, or an affine map with weights of its own.

    Args:
        apply: the affine map without its numbers.
        role: encode (charged at the first step with an analog pre-activation), fire, or readout (never fires).
        weight: as the affine layer's; in quanta, what a spike adds; for `encode` the analog weights, in floating point.
        bias: (C_out,), in quanta, current per time step; for `encode` the analog bias.
        neurons: threshold and initial potential in quanta, each (C_out,); unused by `readout`.
        quantum: (C_out,), powers of two.
        dynamics: how the neurons run.
        shortcut: the second map, if there is one, its weights in quanta.
    """

    weight: Tensor
    bias: Tensor
    threshold: Tensor
    initial_potential: Tensor
    quantum: Tensor
    shortcut: Tensor | None  # weight of the second map

    def __init__(
        self,
        apply: AffineMap,
        role: Role,
        weight: Tensor,
        bias: Tensor,
        neurons: IFParameters,
        quantum: Tensor,
        dynamics: Dynamics,
        shortcut: IncomingMap | None = None,
    ) -> None:
        super().__init__()
        self._laid_out: SpikingLayer | None = None  # another one of the same numbers, whose layouts serve this one too
        self.apply_affine, self.role, self.dynamics = apply, role, dynamics
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("threshold", neurons.threshold)
        self.register_buffer("initial_potential", neurons.initial)
        self.register_buffer("quantum", quantum)
        self.apply_shortcut = None if shortcut is None else shortcut.apply
        self.register_buffer("shortcut", None if shortcut is None else shortcut.weight)

    @classmethod
    def convert(
        cls,
        layer: AnalogLayer,
        role: Role,
        scale: Tensor,
        threshold: Tensor,
        dynamics: Dynamics,
        statistics: Statistics | None = None,
        shortcut_statistics: Statistics | None = None,
    ) -> "SpikingLayer":
        """Convert an analog layer, batch norm folded in.

        Args:
            layer: the layer.
            role: its role in the spiking network.
            scale: activation that an incoming spike stands for, (1,) or (C_in,).
            threshold: a_u / N_s in units of activation, (1,) or (C_out,).
            dynamics: how its neurons run.
            statistics: for its batch norm, in place of the running ones.
            shortcut_statistics: likewise for that of its shortcut.
        """
        if role == "encode" and layer.shortcut is not None:
            raise UserError("the first layer has analog input and no shortcut; begin the stack with a layer without one")
        weight, bias = (x.detach() for x in folded(layer, statistics))
        shortcut = None
        if layer.shortcut is not None:
            apply, beside, more = folded_shortcut(layer, shortcut_statistics)
            shortcut = IncomingMap(apply, beside.detach() * _per_input(scale, beside))
            bias = bias + more.detach()
        if role != "encode":
            weight, bias = weight * _per_input(scale, weight), bias / dynamics.window
        return cls.in_integers(layer.synapses, role, weight, bias, threshold.detach(), dynamics, shortcut)

    @classmethod
    def in_integers(
        cls,
        apply: AffineMap,
        role: Role,
        weight: Tensor,
        bias: Tensor,
        threshold: Tensor,
        dynamics: Dynamics,
        shortcut: IncomingMap | None = None,
    ) -> "SpikingLayer":
        """A layer from numbers in units of activation, rounded to integers of each neuron's quantum; else as the class.

        Raises:
            DivergedError: a number is NaN, infinite, or too large for the quantum to be a float.
        """
        beside = weight.new_zeros(len(weight), 1) if shortcut is None else shortcut.weight
        for name, values in (("weight", weight), ("shortcut", beside), ("bias", bias), ("threshold", threshold)):
            largest = float(values.abs().max())
            if not largest < LARGEST:
                raise DivergedError(f"a {name} of {largest:g} cannot be made an integer; the training has diverged")
        if role == "encode":
            # Potentials never leave the range of the clipped charge.
            quantum = potential_quantum((dynamics.window + 2) * threshold).expand(len(weight))
            weight_scale = weight_quantum(weight, dynamics.encoder_bits)
            # In 64 bits, since the quanta of a neuron without synapses are so small that their number is no 32-bit float.
            weight, bias = snap(weight, weight_scale), snap(bias.double(), weight_scale * INPUT_QUANTUM).to(bias.dtype)
        else:
            joined = torch.cat([weight.flatten(1), beside.flatten(1)], 1)
            quantum = potential_quantum(potential_bound(joined, bias, threshold, dynamics.window))
            learned = weight if shortcut is None or shortcut.is_identity else joined
            if dynamics.weight_bits is not None:
                quantum = torch.maximum(quantum, weight_quantum(learned, dynamics.weight_bits))
            weight = in_quanta(weight, quantum).to(integer_type(dynamics.weight_bits))
            bias = in_quanta(bias, quantum).to(torch.int32)
            if shortcut is not None:
                kind = torch.int32 if shortcut.is_identity else weight.dtype
                shortcut = IncomingMap(shortcut.apply, in_quanta(beside, quantum).to(kind))
        # One threshold per layer is the same for all neurons, whatever their steps.
        shared = quantum.amax(0, keepdim=True) if len(threshold) == 1 else quantum
        # At least one quantum, since a neuron with threshold 0 would fire for ever on nothing.
        threshold = torch.maximum(snap(threshold, shared), shared.to(threshold.dtype))
        neurons = (
            in_quanta(x.expand(len(weight)), quantum) for x in (threshold, snap(threshold * dynamics.initial_potential, shared))
        )
        numbers = IFParameters(*(x.to(torch.int32) for x in neurons))
        return cls(apply, role, weight, bias, numbers, quantum.to(threshold.dtype), dynamics, shortcut)

    @property
    def maps(self) -> tuple[IncomingMap, ...]:
        """Incoming maps, the shortcut last."""
        main = IncomingMap(self.apply_affine, self.weight)
        if self.shortcut is None or self.apply_shortcut is None:
            return (main,)
        return main, IncomingMap(self.apply_shortcut, self.shortcut)

    def with_time_padding(self, before: int, after: int) -> "SpikingLayer":
        """The same neurons and synapses where the last dimension of their input, time, is padded with so many zeros."""
        if (before, after) not in self._with_time_padding:
            neurons, apply = (
                IFParameters(self.threshold, self.initial_potential),
                self.apply_affine.with_time_padding(before, after),
            )
            # What lies outside of the sound is padded alike for all maps: to the shortcut it is input that it leaves out.
            moved = [now - own for now, own in zip((before, after), self.apply_affine.padding[-1], strict=True)]
            shortcut = None
            for other in self.maps[1:]:
                own_padding = other.apply.padding[-1] if other.apply.padding else (0, 0)
                shifted = [own + by for own, by in zip(own_padding, moved, strict=True)]
                shortcut = IncomingMap(other.apply.with_time_padding(*shifted), other.weight)
            layer = SpikingLayer(apply, self.role, self.weight, self.bias, neurons, self.quantum, self.dynamics, shortcut)
            layer.__dict__["_laid_out"] = self  # not as a part of it
            self._with_time_padding[before, after] = layer
        return self._with_time_padding[before, after]

    @cached_property
    def _with_time_padding(self) -> "dict[tuple[int, int], SpikingLayer]":
        return {}

    @property
    def window(self) -> int:
        """Time steps N_s."""
        return self.dynamics.window

    @property
    def scale(self) -> Tensor:
        """Activation that a spike stands for, the threshold. Shape: (C_out,), float32."""
        return self.threshold * self.quantum

    @property
    def passes_spikes(self) -> bool:
        """Whether a spike adds the very threshold of the neuron at its place, so that by itself it is handed on."""
        return self.role == "fire" and self.shortcut is not None and torch.equal(self.shortcut.view(-1), self.threshold)

    def analog_numbers(self) -> tuple[Tensor, Tensor]:
        """Weight and bias in units of activation."""
        if self.role == "encode":
            return self.weight, self.bias
        return self.weight * _per_output(self.quantum, self.weight), self.bias * self.quantum

    def analog_shortcut(self) -> IncomingMap | None:
        """The second map with its weights in units of activation."""
        return next((other.times(_per_output(self.quantum, other.weight)) for other in self.maps[1:]), None)

    def analog(self, scale: Tensor | None) -> AnalogLayer:
        """The analog layer that this one converts from where a spike stands for `scale`, None if its input is analog."""
        weight, bias = self.analog_numbers()
        if scale is not None:
            weight, bias = weight / _per_input(scale, weight), bias * self.window
        before = [nn.Flatten()] if self.apply_affine.flatten else []
        shortcut: nn.Identity | AnalogLayer | None = None
        beside = self.analog_shortcut()
        if beside is not None and scale is not None:
            weights = beside.weight / _per_input(scale, beside.weight)
            shortcut = nn.Identity()
            if not beside.is_identity:
                shortcut = AnalogLayer(beside.apply.module(weights, torch.zeros_like(bias)), rectified=False)
        return AnalogLayer(self.apply_affine.module(weight, bias), before=before, shortcut=shortcut)

    def with_window(self, window: int) -> "SpikingLayer":
        """The same layer for another time window: thresholds are the same upper bounds over another number of steps."""
        weight, bias = self.analog_numbers()
        ratio = self.window / window
        if self.role != "encode":
            weight, bias = weight * ratio, bias * ratio
        dynamics, beside = replace(self.dynamics, window=window), self.analog_shortcut()
        shortcut = None if beside is None else beside.times(ratio)
        return SpikingLayer.in_integers(self.apply_affine, self.role, weight, bias, self.scale * ratio, dynamics, shortcut)

    def neurons(self, like: Tensor, initial: Tensor | None = None) -> IFParameters:
        """Threshold and initial potential, or another one, in quanta, of the type of `like`, to broadcast against it."""
        numbers = self.threshold, self.initial_potential if initial is None else initial
        return IFParameters(*(per_channel(x.to(like.dtype), like) for x in numbers))

    def charge(self, x: Tensor) -> Tensor:
        """Charge of the encoding layer's neurons at the first step, in quanta. Shape: (B, ...) -> (B, ...), float32.

        It is rounded to quanta once, here, and clipped to where more would change no spike.
        """
        return self._weighted_sums(x, _in_input_quanta, self._rounded_charge)

    def current(self, spikes: Tensor) -> Tensor:
        """Synaptic current of one time step in quanta, constant current included (Eq. 3). Shape: (B, ...) -> (B, ...)."""
        return self._weighted_sums(spikes, finish=lambda sums: _plus(sums, self.bias))

    def potential(self, spikes: Spikes) -> Tensor:
        """Free aggregate membrane potential after the whole window (Eq. 9), in units of activation, float32.

        One application of the map to the spike counts; in integers that is exactly the sum of the currents.
        Shape: spikes (B, ...) -> (B, ...).
        """

        def in_units(sums: Tensor) -> Tensor:
            free = _plus(sums, self.bias * self.window)
            return free * per_channel(self.quantum, sums)

        return self._weighted_sums(spikes.counts, finish=in_units)

    def encode(self, x: Tensor) -> Spikes:
        """Spikes of an encoding layer on analog input (B, ...)."""

        def counts(sums: Tensor) -> Tensor:
            return self._counts(self._rounded_charge(sums), self.initial_potential)

        return Spikes(self.window, counts=self._weighted_sums(x, _in_input_quanta, counts))

    def fire(self, spikes: Spikes) -> Spikes:
        """Spikes fired on the incoming ones, by the chosen execution (see `separator.snn.execution.chosen`)."""
        if self.dynamics.schedule == "layer-by-layer":
            initial = self.bias * self.window + self.initial_potential
            return Spikes(
                self.window, counts=self._weighted_sums(spikes.counts, finish=lambda sums: self._counts(sums, initial))
            )
        if self._event_driven is not None and chosen_execution() == "fastest":
            return self._event_driven(spikes)
        flat = self.current(spikes.trains().flatten(0, 1))  # time folded into the batch
        currents = flat.view(self.window, -1, *flat.shape[1:])
        return Spikes.pack(integrate_and_fire(currents, self.neurons(currents[0])))

    def run(self, incoming: Spikes | Tensor) -> Spikes | Tensor:
        """What it makes of its input over the window: spikes, of a readout its potential. Shapes: (B, ...) -> (B, ...)."""
        if isinstance(incoming, Tensor):
            return self.encode(incoming)
        return self.potential(incoming) if self.role == "readout" else self.fire(incoming)

    def activation(self, spikes: Spikes) -> Tensor:
        """Analog activation that spikes stand for, count times threshold. Shape: (B, ...), float32."""
        return spikes.counts * per_channel(self.scale, spikes.counts)

    def _weighted_sums(self, x: Tensor, prepare: Work = as_it_is, finish: Work = as_it_is) -> Tensor:
        """Exact sums of weights times spikes, spike counts or whole quanta of input, in quanta. Shape: (B, ...) -> (B, ...).

        They are finished, and inputs prepared, as `joint_sums` says.
        """
        products = self._products
        if products is not None and (self.role == "encode" or chosen_execution() == "fastest"):
            kind = torch.float64 if self.role == "encode" else torch.int8
            return joint_sums(products, x, lambda inputs: prepare(inputs).to(kind), finish)
        inputs = prepare(x).to(self._dense_weight.dtype)
        with every_bit(x.device):
            sums = self.apply_affine(inputs, self._dense_weight, None)
            for other in self.maps[1:]:
                sums = sums + other.apply(inputs, other.weight.to(inputs.dtype), None)
            return finish(sums)

    def _rounded_charge(self, sums: Tensor) -> Tensor:
        ceiling = per_channel(self.threshold * (self.window + 1), sums)
        return sums.add_(per_channel(self.bias.double() / self.quantum, sums)).round_().float().clamp_(-ceiling, ceiling)

    def _counts(self, charge: Tensor, initial: Tensor) -> Tensor:
        return count_charge(charge, self.neurons(charge, initial), self.window)

    @cached_property
    def _dense_weight(self) -> Tensor:
        """Weight that maps add exactly in floating point; for `encode` of 64 bits, in quanta per quantum of input."""
        if self.role == "encode":
            return self.weight.double() * (INPUT_QUANTUM / _per_output(self.quantum.double(), self.weight))
        return self.weight.float()

    @cached_property
    def _products(self) -> list[Product] | None:
        """The maps as products where that is the faster way: of 8 bits, and of 64 bits, which oneDNN does not serve."""
        if self._laid_out is not None:
            products = self._laid_out._products
            if products is None:
                return None
            return [product.padded_as(own.apply) for product, own in zip(products, self.maps, strict=True)]
        if self.role == "encode":
            product = matrix_product(self.apply_affine, self._dense_weight)
            return None if product is None else [product]
        if self.weight.dtype != torch.int8:
            return None
        served = [product_of(*own) for own in self.maps]
        return [product for product in served if product is not None] if None not in served else None

    @cached_property
    def _event_driven(self) -> EventDriven | None:
        """The event-driven execution; None for layers that it does not serve."""
        if self._laid_out is not None:
            kernel = self._laid_out._event_driven
            return None if kernel is None else kernel.padded_as(self.apply_affine)
        neurons = IFParameters(self.threshold, self.initial_potential)
        weight = merged_weight(*self.maps)
        return None if weight is None else event_driven(self.apply_affine, weight, self.bias, neurons)

    def _forget_layout(self) -> None:
        for name in ("_dense_weight", "_products", "_event_driven", "_with_time_padding"):
            self.__dict__.pop(name, None)

    def _apply(self, *args: Any, **kwargs: Any) -> "SpikingLayer":
        self._forget_layout()
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._forget_layout()
        super()._load_from_state_dict(*args, **kwargs)
