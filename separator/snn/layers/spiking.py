"""Spiking layers: what a layer is after conversion, in whole numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.coding.inputs import CurrentCoding
from separator.snn.execution.chosen import EVENT_DRIVEN, FASTEST, chosen_execution
from separator.snn.execution.executions import Compiled, Population, compiled, taking
from separator.snn.execution.row_adding import RowAdding, trains_of
from separator.snn.execution.scans import run_neurons
from separator.snn.integers.products import matrix_product
from separator.snn.integers.quanta import EXACT, divided, magnitudes
from separator.snn.layers.analog import RELU, AnalogLayer
from separator.snn.layers.charges import ChargesOfFew, require_finite
from separator.snn.layers.dynamics import Dynamics, Role
from separator.snn.layers.fold import Statistics, folded, folded_shortcut
from separator.snn.layers.rounding import INPUT_LIMIT, INPUT_QUANTUM, charge_ceiling, rounded
from separator.snn.layers.shapes import per_channel, per_input, per_output
from separator.snn.layers.sums import WeightedSums
from separator.snn.layers.support import check_activation
from separator.snn.neurons.integrate_and_fire import IntegrateAndFire
from separator.snn.neurons.neuron import Numbers, State
from separator.snn.spikes.trains import Spikes, joined
from separator.snn.synapses.affine import AffineMap
from separator.snn.synapses.incoming import IncomingMap, merged_weight, stacked_weight
from separator.snn.synapses.sizes import check_input

ALL = Fraction(1)
Charges = dict[Fraction, Tensor]  # of the neurons of a layer that encodes, by the share of its input that makes them


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
    _taken: tuple[torch.Size, ...] = ()  # shapes of input that were last checked

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
            UserError: one threshold is shared by neurons whose weights are too different in size.
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
            reach = self._ceiling().double()
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

    def neurons(self, like: Tensor) -> Numbers:
        """Whole numbers of the neurons, of the type of `like` and shaped to broadcast against it."""
        return {name: self._against(like, name, partial(getattr, self, name)) for name in self.neuron.names}

    @property
    def _map_of_quanta(self) -> IncomingMap:
        """Map of a layer that encodes, from quanta of the input to those of its neurons, in float64."""
        return self.maps[0].times(INPUT_QUANTUM / per_output(self.quantum.double(), self.weight))

    @cached_property
    def _charges_of_few(self) -> ChargesOfFew | None:
        """Charge of a layer that encodes where there are few positions; None where no compiled loop serves."""
        product = matrix_product(*self._map_of_quanta) if self.weight.device.type == "cpu" else None
        if product is None or self.dynamics.in_integers:
            return None
        return ChargesOfFew(product, self.bias.double() / self.quantum, self._ceiling().float())

    @cached_property
    def sums(self) -> WeightedSums:
        """Weighted sums of the layer's input in quanta, inputs of a layer that encodes in `INPUT_QUANTUM`."""
        if self._laid_out is not None:
            return self._laid_out.sums.padded_as(self.maps)
        if self.role == "encode":
            return WeightedSums([self._map_of_quanta], encodes=True)
        return WeightedSums(self.maps, self.has_long_sums, self.neuron.saturates)

    def check_sizes(self, *shapes: torch.Size) -> None:
        """Refuse input of shapes, (B, ...), that the incoming maps do not take, one for each, if not the last ones were such.

        Raises:
            UserError: as `check_input`.
        """
        if shapes != self._taken:
            for own, shape in zip(self.maps, shapes, strict=False):
                check_input(own.apply, shape, own.weight.shape)
            self._taken = shapes

    def charge(self, x: Tensor, share: Fraction = ALL) -> Tensor:
        """Charge of the neurons of a layer that encodes, or a share of it, in quanta. Shape: (B, ...) -> (B, ...).

        It is rounded to quanta once, here, and clipped to where more would change no spike. float32, or int32 where potentials
        are integers.
        """
        return self.sums(x, _in_input_quanta, lambda sums: self._rounded_charge(sums, share))

    def current(self, spikes: Tensor, beside: Tensor | None = None) -> Tensor:
        """Synaptic current of one time step in quanta, constant current included (Eq. 3). Shape: (B, ...) -> (B, ...)."""

        def with_constant(sums: Tensor) -> Tensor:
            wide = self._summed(sums)  # of neurons that saturate, the constant current alone may be more than 2^24 quanta
            return wide + self._constant_current(wide, 1)

        return self.sums(spikes, finish=with_constant, beside=beside)

    def currents(self, spikes: Spikes, beside: Spikes | None = None) -> Tensor:
        """The same of each step of a window, a type of whole numbers or floating point. Shape: (B, ...) -> (N_s, B, ...)."""
        kernel = self._kernel(spikes, beside)
        if isinstance(kernel, RowAdding):
            return kernel.currents(trains_of(_together(spikes, beside)))
        held = None if beside is None else beside.trains().flatten(0, 1)
        flat = self.current(spikes.trains().flatten(0, 1), held)  # time folded into the batch
        return flat.view(spikes.window, -1, *flat.shape[1:])

    def potential(self, spikes: Spikes, beside: Spikes | None = None) -> Tensor:
        """Free aggregate membrane potential after the spikes of a window (Eq. 9), in units of activation, float32.

        Shape: spikes (B, ...) -> (B, ...).
        """
        return self.exact_potential(spikes, beside).float()

    def exact_potential(self, spikes: Spikes, beside: Spikes | None = None) -> Tensor:
        """The same as it is before it is rounded: float64 where sums are long.

        One application of the map to the sums of the trains; in whole numbers that is exactly the sum of the currents, which
        the event-driven execution adds up where it was chosen.
        """
        kernel = self._kernel(spikes, beside) if chosen_execution() == EVENT_DRIVEN and not self.neuron.saturates else None
        if kernel is not None and kernel.carries:
            free: Tensor = kernel(_together(spikes, beside), None, True)[1].v.float()
            return free * self._against(free, "quantum", lambda: self.quantum)

        def in_units(sums: Tensor) -> Tensor:
            free = self._summed(sums)
            free = free if free.is_floating_point() else free.float()  # whole quanta, which that holds where sums are not long
            free = free + self._constant_current(free, spikes.window)
            return free * self._against(free, "quantum", lambda: self.quantum)

        return self.sums(spikes.values, finish=in_units, beside=None if beside is None else beside.values)

    def encode(self, x: Tensor) -> Spikes:
        """Spikes of a layer that encodes, over the whole window, on analog input (B, ...).

        Raises:
            UserError: the input holds numbers that are NaN or infinite.
        """
        coding = self.dynamics.input_coding
        at_once = isinstance(coding, CurrentCoding) and coding.at_once
        if at_once and self._charges_of_few is not None and self._charges_of_few.serves(x):
            return self._settled(self._settle(self._charges_of_few(x)))
        require_finite(bool(x.isfinite().all()))
        if at_once:
            return self._settled(self.sums(x, _in_input_quanta, lambda sums: self._settle(self._rounded_charge(sums))))
        currents = list(self.encoding_currents(x, 0, self.window))
        return self._advanced(currents, None)[0]

    def encoding_currents(self, x: Tensor, first: int, steps: int, kept: Charges | None = None) -> Iterator[Tensor]:
        """Currents of a layer that encodes, in quanta, at `steps` steps from step `first` on. Shape: (B, ...) each.

        Args:
            x: the input, (B, ...).
            first: step of the run.
            steps: how many.
            kept: where the charge by a steady current is kept for windows to come, which see the same input.
        """
        coding = self.dynamics.input_coding
        assert isinstance(coding, CurrentCoding)
        known: Charges = kept if kept is not None and coding.steady else {}
        for t in range(first, first + steps):
            share = coding.share(t, self.window)
            if share not in known:
                known[share] = self.charge(x, share)
            yield known[share]

    def advance_encoding(
        self, x: Tensor, first: int, steps: int, state: State = None, kept: Charges | None = None
    ) -> tuple[Spikes, State]:
        """Spikes of a layer that encodes, at `steps` steps from step `first` on, and the state after them; see `advance`."""
        return self._advanced(list(self.encoding_currents(x, first, steps, kept)), state)

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

            return self._settled(self.sums(spikes.values, finish=at_once, beside=held))
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
        currents = self.currents(spikes, beside)
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

    def _rounded_charge(self, sums: Tensor, share: Fraction = ALL) -> Tensor:
        charge = sums.add_(self._against(sums, "charge", lambda: self.bias.double() / self.quantum))
        if share != ALL:  # divided, as a product with a reciprocal that was rounded may miss a tie
            charge = divided(charge.mul_(share.numerator), share.denominator)
        rounded_charge = charge.round_()
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
                population = self._population(apart)
                self._layouts[name, apart] = None if population is None else compiled(population, name)
        return self._layouts[name, apart]

    def _population(self, apart: bool) -> Population | None:
        """The neurons with all of their synapses, a readout's with a threshold out of reach; None if there is no such map."""
        if self.has_long_sums:  # executions count in 32-bit integers
            return None
        weight = stacked_weight(*self.maps) if apart else merged_weight(*self.maps)
        if weight is None:
            return None
        if self.role == "readout":
            never = torch.full_like(self.bias, torch.iinfo(torch.int32).max)
            numbers = {"threshold": never, "initial_potential": torch.zeros_like(self.bias)}
            return Population(self.apply_affine, weight, self.bias, IntegrateAndFire(), numbers)
        at_once = self.dynamics.schedule == "layer-by-layer"
        return Population(self.apply_affine, weight, self.bias, self.neuron, self.numbers, at_once)

    @cached_property
    def _layouts(self) -> dict[tuple[str, bool], Compiled | None]:
        return {}

    def _forget_layout(self) -> None:
        names = ("maps", "has_long_sums", "sums", "_charges_of_few", "_layouts", "_shaped")
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
