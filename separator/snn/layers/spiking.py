"""Spiking layers: what a layer is after conversion, in whole numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from separator.errors import UserError
from separator.snn.coding.inputs import CurrentCoding
from separator.snn.execution.chosen import FASTEST, chosen_execution
from separator.snn.execution.executions import Compiled, Population, compiled, taking
from separator.snn.execution.scans import run_neurons
from separator.snn.integers.products import Product, Work, as_it_is, joint_sums, matrix_product, product_of
from separator.snn.integers.quanta import EXACT, adding_type, every_bit, magnitudes
from separator.snn.layers.analog import RELU, AnalogLayer
from separator.snn.layers.dynamics import Dynamics, Role
from separator.snn.layers.fan_in import Masked
from separator.snn.layers.fold import Statistics, folded, folded_shortcut
from separator.snn.layers.rounding import INPUT_LIMIT, INPUT_QUANTUM, charge_ceiling, rounded
from separator.snn.layers.shapes import per_channel, per_input, per_output
from separator.snn.neurons.neuron import Neuron, Numbers, State
from separator.snn.spikes.trains import Spikes, joined
from separator.snn.synapses.absorb import Pooled, pooled_apart
from separator.snn.synapses.affine import AffineMap
from separator.snn.synapses.incoming import IncomingMap, merged_weight, stacked_weight

INT8 = 127  # largest input of products of 8-bit integers


def _in_input_quanta(x: Tensor) -> Tensor:
    return (x.float() / INPUT_QUANTUM).clamp_(-INPUT_LIMIT, INPUT_LIMIT).round_()


class SpikingLayer(nn.Module):
    """A converted layer: frozen weights, a constant current and spiking neurons, in whole numbers.

    Each neuron counts in quanta of its own, a power of two of the analog network's activation; see
    `separator.snn.integers.quanta`.
    An incoming spike carries the threshold of the neuron that fired it, folded into the weights (section 3.2), so that the
    free aggregate membrane potential (Eq. 9) times the quantum is the analog pre-activation, and the sum of the spikes times
    `scale` the activation. `separator.snn.stack.reference` says in plain integer arithmetic what a layer computes.

    A population may have a second incoming map, a shortcut, in the same quanta: the identity, through which a spike adds the
    threshold of the neuron that fired it, or an affine map with weights of its own. It sees the same spikes, or those that
    methods get as `beside`.

    Args:
        apply: the affine map without its numbers.
        role: encode (charged with an analog pre-activation), fire, or readout (never fires).
        weight: as the affine layer's; in quanta, what a spike adds; for `encode` the analog weights, in floating point.
        bias: (C_out,), in quanta, current per time step; for `encode` the analog bias.
        neurons: whole numbers of the neuron model, in quanta, each (C_out,); unused by `readout`.
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
        neurons: Mapping[str, Tensor],
        quantum: Tensor,
        dynamics: Dynamics,
        shortcut: IncomingMap | None = None,
    ) -> None:
        super().__init__()
        self._laid_out: SpikingLayer | None = None  # another one of the same numbers, whose layouts serve this one too
        self.apply_affine, self.role, self.dynamics, self.neuron = apply, role, dynamics, dynamics.model
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        for name in self.neuron.names:
            self.register_buffer(name, neurons[name])
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
        statistics: Sequence[Statistics | None] = (),
        beside: Tensor | None = None,
    ) -> "SpikingLayer":
        """Convert an analog layer, batch norm folded in.

        Args:
            layer: the layer.
            role: its role in the spiking network.
            scale: activation that an incoming spike stands for, (1,) or (C_in,).
            threshold: a_u / N_s in units of activation, (1,) or (C_out,).
            dynamics: how its neurons run.
            statistics: for its batch norm, and for that of its shortcut, in place of the running ones.
            beside: the same as `scale` of the spikes that the shortcut sees, None if they are the same.

        Raises:
            UserError: the neurons cannot stand for the layer's activation, or it encodes and has a shortcut.
        """
        if role == "encode" and layer.shortcut is not None:
            raise UserError("the first layer has analog input and no shortcut; begin the stack with a layer without one")
        if role != "readout":
            check_activation(layer, dynamics)
        own, others = (*statistics, None, None)[:2]
        weight, bias = (x.detach() for x in folded(layer, own))
        shortcut = None
        if layer.shortcut is not None:
            apply, more, constant = folded_shortcut(layer, others)
            shortcut = IncomingMap(apply, more.detach() * per_input(scale if beside is None else beside, more))
            bias = bias + constant.detach()
        if role != "encode":
            weight, bias = weight * per_input(scale, weight), bias / dynamics.window
        return cls.in_integers(layer.synapses, role, weight, bias, threshold.detach(), dynamics, shortcut, layer.activation)

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
        activation: nn.Module | None = RELU,
    ) -> "SpikingLayer":
        """A layer from numbers in units of activation, rounded to whole numbers of each neuron's quantum; else as the class.

        Args: as of the class, but for `threshold`, (1,) or (C_out,), and the `activation` that its spikes stand for.

        Raises:
            DivergedError: a number is NaN, infinite, or too large for the quantum to be a float.
        """
        numbers = rounded(role, weight, bias, threshold, dynamics, shortcut, activation)
        return cls(apply, role, *numbers[:4], dynamics, numbers.shortcut)

    @cached_property
    def maps(self) -> tuple[IncomingMap, ...]:
        """Incoming maps, the shortcut last."""
        main = IncomingMap(self.apply_affine, self.weight)
        if self.shortcut is None or self.apply_shortcut is None:
            return (main,)
        return main, IncomingMap(self.apply_shortcut, self.shortcut)

    @property
    def numbers(self) -> dict[str, Tensor]:
        """Whole numbers of the neuron model. Shapes: (C_out,)."""
        return {name: getattr(self, name) for name in self.neuron.names}

    def with_time_padding(self, before: int, after: int) -> "SpikingLayer":
        """The same neurons and synapses where the last dimension of their input, time, is padded with so many zeros."""
        apply = self.apply_affine.with_time_padding(before, after)
        # What lies outside of the sound is padded alike for all maps: to the shortcut it is input that it leaves out.
        moved = [now - own for now, own in zip((before, after), self.apply_affine.padding[-1], strict=True)]
        shortcut = None
        for other in self.maps[1:]:
            own_padding = other.apply.padding[-1] if other.apply.padding else (0, 0)
            shifted = [own + by for own, by in zip(own_padding, moved, strict=True)]
            shortcut = IncomingMap(other.apply.with_time_padding(*shifted), other.weight)
        layer = SpikingLayer(apply, self.role, self.weight, self.bias, self.numbers, self.quantum, self.dynamics, shortcut)
        layer.__dict__["_laid_out"] = self  # not as a part of it
        return layer

    @property
    def window(self) -> int:
        """Time steps N_s."""
        return self.dynamics.window

    @property
    def scale(self) -> Tensor:
        """Activation that a spike of 1 stands for, the threshold. Shape: (C_out,), float32."""
        return self.threshold * self.quantum

    @property
    def passes_spikes(self) -> bool:
        """True if a spike adds the very threshold of the neuron at its place, so that by itself it is handed on."""
        return self.role == "fire" and self.shortcut is not None and torch.equal(self.shortcut.view(-1), self.threshold)

    @property
    def stands_for(self) -> nn.Module | None:
        """Activation that the spikes stand for."""
        return self.neuron.activation_of(self.numbers)

    def largest_potential(self) -> float:
        """Bound of membrane potentials and partial sums over a window, in quanta; where potentials saturate, at one step."""
        dynamics, threshold = self.dynamics, self.threshold.double()
        if self.role == "encode":  # its charge is clipped
            reach = self.neuron.reach(self.numbers, dynamics.charged_steps).double()
            steady = dynamics.charged_steps < self.window and not self.neuron.saturates
            return float((self.window * reach if steady else reach + threshold).max())
        spikes = self.neuron.largest if self.neuron.saturates else dynamics.exact_spikes
        parts = [self.bias, self.weight, *([] if self.shortcut is None else [self.shortcut])]
        sums = torch.stack([magnitudes(part) for part in parts]).sum(0)
        return float((spikes * sums + (2 * threshold if self.role == "fire" else 0)).max())  # a readout never fires

    @cached_property
    def has_long_sums(self) -> bool:
        """True if sums go beyond what 32-bit numbers hold, so that they are computed in float64 (see `integers.quanta`)."""
        if self._laid_out is not None:
            return self._laid_out.has_long_sums
        return self.role != "encode" and not self.neuron.saturates and self.largest_potential() > EXACT

    def analog_numbers(self) -> tuple[Tensor, Tensor]:
        """Weight and bias in units of activation."""
        if self.role == "encode":
            return self.weight, self.bias
        return self.weight * per_output(self.quantum, self.weight), self.bias * self.quantum

    def analog_shortcut(self) -> IncomingMap | None:
        """The second map with its weights in units of activation."""
        return next((other.times(per_output(self.quantum, other.weight)) for other in self.maps[1:]), None)

    def analog(self, scale: Tensor | None, beside: Tensor | None = None) -> AnalogLayer:
        """The analog layer that this one converts from.

        Args:
            scale: activation that an incoming spike stands for; None if the input is analog.
            beside: the same of the spikes that the shortcut sees; None if they are the same.
        """
        weight, bias = self.analog_numbers()
        if scale is not None:
            weight, bias = weight / per_input(scale, weight), bias * self.window
        before = [nn.Flatten()] if self.apply_affine.flatten else []
        shortcut: nn.Identity | AnalogLayer | None = None
        second = self.analog_shortcut()
        if second is not None and scale is not None:
            weights = second.weight / per_input(scale if beside is None else beside, second.weight)
            shortcut = nn.Identity()
            if not second.is_identity:
                affine = second.apply.module(weights, torch.zeros_like(bias))
                shortcut = AnalogLayer(affine, activation=None, map_of_affine=second.apply)
        affine = self.apply_affine.module(weight, bias)
        synapses = self.apply_affine.synapses(weight)
        if not bool(synapses.all()):  # what lies in gaps between taps is no synapse, and none is to be learned there
            parametrize.register_parametrization(affine, "weight", Masked(synapses))
        activation = None if self.role == "readout" else self.stands_for
        return AnalogLayer(affine, before=before, activation=activation, shortcut=shortcut, map_of_affine=self.apply_affine)

    def with_window(self, window: int) -> "SpikingLayer":
        """The same layer for another time window: thresholds are the same upper bounds over another number of steps."""
        dynamics = replace(self.dynamics, window=window)
        weight, bias = self.analog_numbers()
        ratio = self.window / window
        if self.role != "encode":
            weight, bias = weight * ratio, bias * ratio
        second = self.analog_shortcut()
        shortcut = None if second is None else second.times(ratio)
        return SpikingLayer.in_integers(
            self.apply_affine, self.role, weight, bias, self.scale * ratio, dynamics, shortcut, self.stands_for
        )

    def neurons(self, like: Tensor) -> Numbers:
        """Whole numbers of the neurons, of the type of `like` and shaped to broadcast against it."""
        return {name: self._against(like, name, partial(getattr, self, name)) for name in self.neuron.names}

    def charge(self, x: Tensor, share: float = 1.0) -> Tensor:
        """Charge of the neurons of a layer that encodes, or a share of it, in quanta. Shape: (B, ...) -> (B, ...).

        It is rounded to quanta once, here, and clipped to where more would change no spike. float32, or int32 where potentials
        are integers.
        """
        return self._weighted_sums(x, _in_input_quanta, lambda sums: self._rounded_charge(sums, share))

    def current(self, spikes: Tensor, beside: Tensor | None = None) -> Tensor:
        """Synaptic current of one time step in quanta, constant current included (Eq. 3). Shape: (B, ...) -> (B, ...)."""
        return self._weighted_sums(spikes, finish=lambda sums: sums + self._constant_current(sums, 1), beside=beside)

    def potential(self, spikes: Spikes, beside: Spikes | None = None) -> Tensor:
        """Free aggregate membrane potential after the spikes of a window (Eq. 9), in units of activation, float32.

        Shape: spikes (B, ...) -> (B, ...).
        """
        return self.exact_potential(spikes, beside).float()

    def exact_potential(self, spikes: Spikes, beside: Spikes | None = None) -> Tensor:
        """The same as it is before it is rounded: float64 where sums are long.

        One application of the map to the sums of the trains; in whole numbers that is exactly the sum of the currents.
        """

        def in_units(sums: Tensor) -> Tensor:
            free = self._summed(sums)
            free = free + self._constant_current(free, spikes.window)
            return free * self._against(free, "quantum", lambda: self.quantum)

        return self._weighted_sums(spikes.values, finish=in_units, beside=None if beside is None else beside.values)

    def encode(self, x: Tensor) -> Spikes:
        """Spikes of a layer that encodes, over the whole window, on analog input (B, ...).

        Raises:
            UserError: the input holds numbers that are NaN or infinite.
        """
        coding = self.dynamics.input_coding
        if not bool(x.isfinite().all()):
            raise UserError("the input holds numbers that are NaN or infinite, which no neuron can be charged with")
        if isinstance(coding, CurrentCoding) and coding.at_once:
            return self._settled(
                self._weighted_sums(x, _in_input_quanta, lambda sums: self._settle(self._rounded_charge(sums)))
            )
        currents = list(self.encoding_currents(x, 0, self.window))
        return self._advanced(currents, None)[0]

    def encoding_currents(self, x: Tensor, first: int, steps: int) -> Iterator[Tensor]:
        """Currents of a layer that encodes, in quanta, at `steps` steps from step `first` on. Shape: (B, ...) each."""
        coding = self.dynamics.input_coding
        assert isinstance(coding, CurrentCoding)
        known: dict[float, Tensor] = {}
        for t in range(first, first + steps):
            share = float(coding.share(t, self.window))
            if share not in known:
                known[share] = self.charge(x, share)
            yield known[share]

    def advance_encoding(self, x: Tensor, first: int, steps: int, state: State = None) -> tuple[Spikes, State]:
        """Spikes of a layer that encodes, at `steps` steps from step `first` on, and the state after them; see `advance`."""
        return self._advanced(list(self.encoding_currents(x, first, steps)), state)

    def fire(self, spikes: Spikes, beside: Spikes | None = None) -> Spikes:
        """Spikes fired on the incoming ones, by the chosen execution (see `separator.snn.execution.chosen`)."""
        if self.dynamics.schedule == "pipelined":
            return self.advance(spikes, beside, carry=False)[0]
        kernel = self._kernel(spikes, beside) if chosen_execution() != FASTEST else None  # by default, products
        if kernel is None:
            held = None if beside is None else beside.values

            def at_once(sums: Tensor) -> Tensor:
                wide = self._summed(sums)
                return self._settle(wide.add_(self._constant_current(wide, self.window)))

            return self._settled(self._weighted_sums(spikes.values, finish=at_once, beside=held))
        return kernel(_together(spikes, beside))[0]

    def advance(
        self, spikes: Spikes, beside: Spikes | None = None, state: State = None, carry: bool = True
    ) -> tuple[Spikes, State]:
        """Spikes fired on the incoming ones of a window that continues a run, and the state after it.

        Args:
            spikes: the incoming ones.
            beside: those that the shortcut sees, if they are others.
            state: after the window before; None at the first one.
            carry: whether the state after it is of interest, and the one before is given.
        """
        kernel = self._kernel(spikes, beside)
        if kernel is not None and (kernel.carries or not carry):
            return kernel(_together(spikes, beside), state, carry)
        held = None if beside is None else beside.trains().flatten(0, 1)
        flat = self.current(spikes.trains().flatten(0, 1), held)  # time folded into the batch
        currents = flat.view(spikes.window, -1, *flat.shape[1:])
        return self._advanced(currents.to(torch.int32) if self._counts_in_integers else currents, state)

    def run(self, incoming: Spikes | Tensor, beside: Spikes | None = None) -> Spikes | Tensor:
        """Output over the window: spikes, of a readout its potential. Shapes: (B, ...) -> (B, ...)."""
        if isinstance(incoming, Tensor):
            return self.encode(incoming)
        return self.potential(incoming, beside) if self.role == "readout" else self.fire(incoming, beside)

    def activation(self, spikes: Spikes) -> Tensor:
        """Analog activation that spikes stand for, their sum times threshold. Shape: (B, ...), float32."""
        values = spikes.values
        return values * per_channel(self.scale, values)

    def _weighted_sums(
        self, x: Tensor, prepare: Work = as_it_is, finish: Work = as_it_is, beside: Tensor | None = None
    ) -> Tensor:
        """Exact sums of weights times spikes, their sums or whole quanta of input, in quanta. Shape: (B, ...) -> (B, ...).

        They are finished, and inputs prepared, as `joint_sums` says. What the shortcut sees is `beside`, or the same.
        """
        products, kind = self._products, torch.float32
        if self.neuron.saturates and self.role != "encode":  # sums of spikes of any size
            largest = max(float(seen.abs().max()) for seen in (x, *([] if beside is None else [beside])))
            products = products if largest <= INT8 else None
            kind = adding_type(largest * self._most_weight)
        if products is not None and (self.role == "encode" or chosen_execution() != "dense"):
            taken = torch.float64 if self.role == "encode" or self.has_long_sums else torch.int8
            return joint_sums(products, [x] if beside is None else [x, beside], lambda seen: prepare(seen).to(taken), finish)
        apart = None if self.role == "encode" else self._pooled_apart(x.shape[1:])
        apply, dense = (self.apply_affine, self._dense_weight) if apart is None else (apart.apply, apart.weight)
        weight = dense if kind == torch.float32 else dense.to(kind)
        inputs = prepare(x).to(weight.dtype)
        other_inputs = inputs if beside is None else beside.to(weight.dtype)
        with every_bit(x.device):
            sums = apply(inputs if apart is None else apart.sums(inputs), weight, None)
            for other in self.maps[1:]:
                sums = sums + other.apply(other_inputs, other.weight.to(inputs.dtype), None)
            return finish(sums)

    def _rounded_charge(self, sums: Tensor, share: float = 1.0) -> Tensor:
        charge = sums.add_(self._against(sums, "charge", lambda: self.bias.double() / self.quantum))
        rounded_charge = (charge if share == 1 else charge.mul_(share)).round_()
        if not self.dynamics.in_integers:
            rounded_charge = rounded_charge.float()
        ceiling = self._against(rounded_charge, "ceiling", self._ceiling)
        floor = self._against(rounded_charge, "floor", lambda: -self._ceiling())
        clipped = rounded_charge.clamp_(floor, ceiling)
        return clipped.to(torch.int32) if self.dynamics.in_integers else clipped

    def _ceiling(self) -> Tensor:
        return charge_ceiling(self.neuron, self.numbers, self.dynamics)

    def _summed(self, sums: Tensor) -> Tensor:
        """Weighted sums in a type that holds those of a window exactly."""
        return sums.double() if self.neuron.saturates else sums

    def _constant_current(self, sums: Tensor, steps: int) -> Tensor:
        """The constant current of so many time steps in quanta, to be added to sums (B, ...)."""
        return self._against(sums, f"current of {steps} steps", lambda: self.bias * steps)

    def _against(self, like: Tensor, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Numbers (C_out,), made once, of the type of `like` and shaped to broadcast against it."""
        key = name, like.dtype, like.dim()
        if key not in self._shaped:
            self._shaped[key] = per_channel(make().to(like.dtype), like)
        return self._shaped[key]

    @cached_property
    def _shaped(self) -> dict[tuple[str, torch.dtype, int], Tensor]:
        return {}

    def _settle(self, charge: Tensor) -> Tensor:
        """Sums of spikes, where the model says them at once, else the charge itself. Shape: (B, ...) -> (B, ...)."""
        return self.neuron.settle(charge, self.neurons(charge), self.window) if self.neuron.settles else charge

    def _settled(self, sums: Tensor) -> Spikes:
        """Spikes of neurons that got all of their charge at the first step, from what `_settle` made of it."""
        if self.neuron.settles:
            return self.neuron.in_front(sums, self.window)
        later = torch.zeros_like(sums)
        return self._advanced([sums, *[later] * (self.window - 1)], None)[0]

    def _advanced(self, currents: Sequence[Tensor] | Tensor, state: State) -> tuple[Spikes, State]:
        """Spikes fired on the currents of some steps, and the state after them."""
        if self.has_long_sums:
            return self.neuron.run(currents, self.neurons(currents[0]), state)
        return run_neurons(self.neuron, currents, self.numbers, state)

    @property
    def _counts_in_integers(self) -> bool:
        """True if potentials are 32-bit integers; long sums are not."""
        return self.dynamics.in_integers and not self.has_long_sums

    @cached_property
    def _most_weight(self) -> float:
        """Most that spikes of 1, one of every neuron, add to a potential."""
        return sum(float(own.weight.flatten(1).abs().sum(1, dtype=torch.float64).max()) for own in self.maps)

    @cached_property
    def _dense_weight(self) -> Tensor:
        """Weight that maps add exactly in floating point; for `encode` of 64 bits, in quanta per quantum of input."""
        if self.role == "encode":
            return self.weight.double() * (INPUT_QUANTUM / per_output(self.quantum.double(), self.weight))
        return self.weight.double() if self.has_long_sums else self.weight.float()

    def _pooled_apart(self, shape: torch.Size) -> Pooled | None:
        """The map, for inputs of a shape, with sums of what it averages apart, if it does."""
        if shape not in self._pooled:
            self._pooled[shape] = pooled_apart(self.apply_affine, self._dense_weight, shape)
        return self._pooled[shape]

    @cached_property
    def _pooled(self) -> dict[torch.Size, Pooled | None]:
        return {}

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
        maps = list(self.maps)
        if self.has_long_sums:
            maps = [own if own.is_identity else IncomingMap(own.apply, own.weight.double()) for own in maps]
        elif self.weight.dtype != torch.int8:
            return None
        served = [product_of(*own) for own in maps]
        return [product for product in served if product is not None] if None not in served else None

    def _kernel(self, spikes: Spikes, beside: Spikes | None) -> Compiled | None:
        """The layer laid out for the chosen execution, None if that does not serve, or not such spikes."""
        return taking(spikes, self.compiled_for(chosen_execution(), beside is not None))

    def compiled_for(self, name: str, apart: bool) -> Compiled | None:
        """The layer laid out for an execution, its shortcut with an input of its own or not; None if that does not serve."""
        if (name, apart) not in self._layouts:
            if self._laid_out is not None:
                kernel = self._laid_out.compiled_for(name, apart)
                self._layouts[name, apart] = None if kernel is None else kernel.padded_as(self.apply_affine)
            else:
                weight = None  # executions count in 32-bit integers
                if not self.has_long_sums:
                    weight = stacked_weight(*self.maps) if apart else merged_weight(*self.maps)
                numbers, at_once = self.numbers, self.dynamics.schedule == "layer-by-layer"
                self._layouts[name, apart] = (
                    None
                    if weight is None
                    else compiled(Population(self.apply_affine, weight, self.bias, self.neuron, numbers, at_once), name)
                )
        return self._layouts[name, apart]

    @cached_property
    def _layouts(self) -> dict[tuple[str, bool], Compiled | None]:
        return {}

    def _forget_layout(self) -> None:
        names = ("maps", "has_long_sums", "_dense_weight", "_most_weight", "_pooled", "_products", "_layouts", "_shaped")
        for name in names:
            self.__dict__.pop(name, None)

    def _apply(self, *args: Any, **kwargs: Any) -> "SpikingLayer":
        self._forget_layout()
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._forget_layout()
        super()._load_from_state_dict(*args, **kwargs)


def _together(spikes: Spikes, beside: Spikes | None) -> Spikes:
    """What a layer and its shortcut see, channel behind channel; what both see once."""
    return spikes if beside is None else joined([spikes, beside], 1)


def check_activation(layer: AnalogLayer, dynamics: Dynamics) -> None:
    """Refuse activations that the spikes of a neuron model cannot stand for.

    Raises:
        UserError: the layer's is one; the message says what can be.
    """
    model: Neuron = dynamics.model
    activation = layer.activation
    if activation is not None and not isinstance(activation, model.activations):
        known = ", ".join(kind.__name__ for kind in model.activations)
        raise UserError(f"spikes of the neuron model '{dynamics.neuron}' stand for {known}, not for {activation}")
