"""A stack of layers: analog, spiking, in tandem, or each of these in part while it is being converted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.conversion.thresholds import activation_bound, rate_bound
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.ranges import check_layer
from separator.snn.layers.spiking import Dynamics, Role, SpikingLayer
from separator.snn.learning.surrogate import Surrogate, SurrogateLayer
from separator.snn.learning.tandem import Signal, TandemLayer
from separator.snn.neurons.integrate_and_fire import IFParameters
from separator.snn.spikes.binary import Spikes
from separator.snn.stack.chains import activations_of, chain_from, is_joined
from separator.snn.synapses.incoming import IncomingMap

Readout = Literal["potential", "rectified"]


def spiking_role(index: int, layers: int) -> Role:
    """Role of layer `index` of a stack of `layers`."""
    return "encode" if index == 0 else "readout" if index == layers - 1 else "fire"


class LayerRun(NamedTuple):
    """One layer over the time window of a simulation, for observers."""

    position: int  # of the layer in the stack
    layer: SpikingLayer
    incoming: Spikes | Tensor  # the analog input (B, ...) of the encoding layer
    outcome: Spikes | Tensor  # the membrane potential (B, ...) of the readout


Observer = Callable[[LayerRun], None]


class Stack(nn.Module):
    """Ordered layers: spiking ones in front, then ones in tandem, then analog ones.

    The last layer never fires: the network behind it sees its free aggregate membrane potential (section 3.4).

    Args:
        layers: at least two analog layers.
        readout: the membrane potential as it is, or rectified as the analog network's activation is.
    """

    def __init__(self, layers: Sequence[AnalogLayer], readout: Readout = "rectified") -> None:
        super().__init__()
        if len(layers) < 2:
            raise ValueError("a stack has at least two layers: one that encodes and one that is read out")
        self.layers = nn.ModuleList(layers)
        self.set_readout(readout)
        self.observer: Observer | None = None
        self._prefix: Spikes | None = None

    @property
    def converted(self) -> int:
        """Number of layers that are spiking."""
        return sum(isinstance(layer, SpikingLayer) for layer in self.layers)

    @property
    def dynamics(self) -> Dynamics | None:
        """How the neurons run, None while all layers are analog."""
        first = self.layers[0]
        return first.dynamics if isinstance(first, SpikingLayer | TandemLayer) else None

    @property
    def latency(self) -> int | None:
        """Time steps from the first charge to the result; None while there are analog layers."""
        if self.dynamics is None or self.converted < len(self.layers):
            return None
        waits = 1 if self.dynamics.schedule == "pipelined" else len(self.layers) - 1
        return self.dynamics.window * waits

    def spiking_layers(self) -> list[SpikingLayer]:
        """The spiking layers at the front."""
        return [layer for layer in self.layers if isinstance(layer, SpikingLayer)]

    def forward(self, x: Tensor) -> Tensor:
        """Activation of the last layer, or its membrane potential once it is spiking or in tandem. Shape: (B, ...)."""
        spiking = self.spiking_layers()
        if len(spiking) == len(self.layers):
            return self.read(simulate(spiking, x, self.observer))
        signal = Signal(x)
        if spiking:
            spikes = fire(spiking, x) if self._prefix is None else self._prefix
            signal = Signal(spiking[-1].activation(spikes), spikes, spiking[-1].scale)
        for i, layer in enumerate(self.layers[len(spiking) :], len(spiking)):
            with in_layer(i):
                signal = layer(signal) if isinstance(layer, TandemLayer) else Signal(layer(signal.activation))
        last = self.layers[-1]
        return self.read(signal.activation) if isinstance(last, TandemLayer) else signal.activation

    def set_readout(self, readout: Readout) -> None:
        """Choose how the last layer is read; where that has no ReLU, its potential is read as it is all the same."""
        last = self.layers[-1]
        self.readout: Readout = readout if getattr(last, "rectified", True) else "potential"

    def read(self, potential: Tensor) -> Tensor:
        """Activation that the free membrane potential of the last layer stands for."""
        return potential.relu() if self.readout == "rectified" else potential

    def restore(self, converted: int, dynamics: Dynamics, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        """Make the first `converted` layers spiking, their numbers taken from the state dict `tensors`.

        Raises:
            KeyError: a tensor is missing.
            UserError: numbers of a layer are no conversion's; the message names it.
        """
        for i in range(converted):
            layer = self.layers[i]
            assert isinstance(layer, AnalogLayer)
            weight, bias, threshold, initial, quantum = (
                tensors[f"{prefix}layers.{i}.{name}"]
                for name in ("weight", "bias", "threshold", "initial_potential", "quantum")
            )
            role = spiking_role(i, len(self.layers))
            neurons, beside = IFParameters(threshold, initial), None
            if (synapses := layer.shortcut_synapses) is not None:
                beside = IncomingMap(synapses, tensors[f"{prefix}layers.{i}.shortcut"])
            spiking = SpikingLayer(layer.synapses, role, weight, bias, neurons, quantum, dynamics, beside)
            with in_layer(i):
                check_layer(spiking, layer)
            self.layers[i] = spiking

    @torch.no_grad()
    def convert(
        self,
        x: Tensor,
        dynamics: Dynamics,
        percentile: float = 99.0,
        channelwise: bool = False,
        rate: float | None = None,
        share: bool = False,
    ) -> None:
        """Make all layers of a wholly analog stack spiking at once, without tuning.

        Args:
            x: input of the stack, whose activations thresholds are taken from.
            dynamics: how the neurons run.
            percentile: of the activations, their upper bound.
            channelwise: a threshold per channel instead of one per layer.
            rate: thresholds per layer that make it fire at about this mean rate, in place of those of the percentile.
            share: one threshold for all layers of a chain, see `separator.snn.stack.chains`.

        Raises:
            ValueError: a layer is never active on `x`, or less than `rate` asks for.
            UserError: numbers of a layer cannot be made integers; the message names it.
        """
        scale = torch.ones(1, device=x.device)
        found = self._thresholds(x, dynamics.window, percentile, channelwise, rate, share)
        for i, (layer, role, threshold) in enumerate(found):
            if share and role == "fire" and is_joined(layer):
                threshold = scale
            with in_layer(i):
                self.layers[i] = spiking = SpikingLayer.convert(layer, role, scale, threshold, dynamics)
            scale = spiking.scale

    @torch.no_grad()
    def _thresholds(
        self, x: Tensor, window: int, percentile: float, channelwise: bool, rate: float | None = None, share: bool = False
    ) -> Iterator[tuple[AnalogLayer, Role, Tensor]]:
        """The layers of a wholly analog stack with their roles and thresholds, as `convert` has them.

        Of a chain that shares one, the first layer's is that of all.

        Each may be replaced in the stack as it comes.
        """
        signal = x
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, AnalogLayer)
            role, threshold = spiking_role(i, len(self.layers)), torch.ones(1)
            heads = share and role != "readout" and not is_joined(layer)
            activations = list(activations_of(chain_from(list(self.layers), i) if heads else [layer], signal))
            signal = activations[0]
            if role != "readout":
                if rate is None:
                    bound = activation_bound([a.cpu() for a in activations], percentile, channelwise)
                else:
                    bound = rate_bound(signal.cpu(), rate)
                    signal = signal.clamp(max=float(bound))  # as spikes hand it on, which matters where much is above
                threshold = bound / window
            yield layer, role, threshold.to(x.device)

    def put_in_tandem(
        self,
        x: Tensor,
        dynamics: Dynamics,
        percentile: float = 99.0,
        channelwise: bool = False,
        learn_thresholds: bool = False,
        batch_statistics: bool = False,
    ) -> None:
        """Put all layers of a wholly analog stack, new or trained, in tandem at once (end-to-end tandem learning).

        Wu et al. 2019, "A tandem learning rule for efficient and rapid inference on deep spiking neural networks".

        Args:
            x: input of the stack, whose activations thresholds are taken from.
            dynamics: how the neurons run.
            percentile: of the activations, their upper bound.
            channelwise: a threshold per channel instead of one per layer.
            learn_thresholds: whether thresholds do.
            batch_statistics: see `TandemLayer`; for a stack that has not learned. Thresholds are those of activations
                normalised likewise, and the running statistics take note of `x`.

        Raises:
            ValueError: a layer is never active on `x`.
        """

        def tandem(layer: AnalogLayer, role: Role, threshold: Tensor) -> TandemLayer:
            learn = learn_thresholds and role != "readout"
            return TandemLayer(layer, role, threshold, dynamics, learn, batch_statistics=batch_statistics)

        self._couple(x, tandem, dynamics.window, percentile, channelwise, batch_statistics)

    def put_through_time(
        self,
        x: Tensor,
        dynamics: Dynamics,
        surrogate: Surrogate,
        percentile: float = 99.0,
        channelwise: bool = False,
        batch_statistics: bool = False,
    ) -> None:
        """Have all layers of a wholly analog stack spike step by step, to learn by backpropagation through time.

        Args:
            x: input of the stack, whose activations thresholds are taken from.
            dynamics: how the neurons run.
            surrogate: what stands for the derivative of a spike.
            percentile: of the activations, their upper bound.
            channelwise: a threshold per channel instead of one per layer.
            batch_statistics: see `put_in_tandem`.

        Raises:
            ValueError: a layer is never active on `x`.
            UserError: layers wait for all of their input, so that no spike has a time.
        """

        def through_time(layer: AnalogLayer, role: Role, threshold: Tensor) -> SurrogateLayer:
            return SurrogateLayer(layer, role, threshold, dynamics, surrogate, batch_statistics)

        self._couple(x, through_time, dynamics.window, percentile, channelwise, batch_statistics)

    def _couple(
        self,
        x: Tensor,
        couple: Callable[[AnalogLayer, Role, Tensor], TandemLayer],
        window: int,
        percentile: float,
        channelwise: bool,
        batch_statistics: bool,
    ) -> None:
        """Put something that `couple` makes of a layer, its role and its threshold in the place of each."""
        training = self.training
        self.eval()
        for analog in (layer for layer in self.layers if isinstance(layer, AnalogLayer)):
            for part in analog.with_shortcut():
                if part.norm is not None:
                    part.norm.train(batch_statistics)
        for i, (layer, role, threshold) in enumerate(self._thresholds(x, window, percentile, channelwise)):
            self.layers[i] = couple(layer, role, threshold)
        self.train(training)

    def unfreeze(
        self,
        learn_thresholds: bool = False,
        weight_bits: int | None = None,
        mask_gradient: bool = False,
        first: int = 0,
    ) -> Dynamics:
        """Put the layers of a wholly spiking stack in tandem with analog twins, so that they learn together.

        Args:
            learn_thresholds: whether thresholds do too.
            weight_bits: make synaptic weights integers of so many bits, None for as many as they have.
            mask_gradient: see `TandemLayer`.
            first: the first layer that shall learn.

        Returns:
            how the neurons run from now on.
        """
        spiking = self.spiking_layers()
        dynamics = spiking[0].dynamics
        if weight_bits is not None:
            dynamics = replace(dynamics, weight_bits=weight_bits)
        scale: Tensor | None = None
        for i, layer in enumerate(spiking):
            if i >= first:
                # A chain with one threshold a channel goes on having one, which learns if all of the chain does.
                before = self.layers[i - 1] if layer.passes_spikes else None
                learn = learn_thresholds and layer.role != "readout" and not isinstance(before, SpikingLayer)
                tandem = TandemLayer(
                    layer.analog(scale), layer.role, layer.scale, dynamics, learn, mask_gradient, inherits=before is not None
                )
                if isinstance(before, TandemLayer):
                    tandem.gain = before.gain
                self.layers[i] = tandem
            scale = layer.scale
        return dynamics

    def freeze(self) -> None:
        """Make all layers in tandem, or through time, of a stack without analog ones spiking.

        Raises:
            UserError: numbers of a layer cannot be made integers; the message names it.
        """
        scale: Tensor | None = None
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, TandemLayer | SpikingLayer)
            if isinstance(layer, TandemLayer):
                with in_layer(i):
                    self.layers[i] = layer = layer.spiking(scale)
            scale = layer.scale

    def set_window(self, window: int) -> None:
        """Give a wholly spiking stack another time window, the upper bounds of its activations staying as they are."""
        for i, layer in enumerate(self.spiking_layers()):
            self.layers[i] = layer.with_window(window)

    @contextmanager
    def given_prefix(self, spikes: Spikes | None) -> Iterator[None]:
        """Take the spikes of the last spiking layer from here instead of simulating the spiking layers."""
        self._prefix = spikes
        try:
            yield
        finally:
            self._prefix = None


@contextmanager
def in_layer(position: int) -> Iterator[None]:
    """Name the layer in errors that arise within."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"layer {position}: {error}") from error


@torch.no_grad()
def outcomes(stack: Stack, x: Tensor) -> list[Tensor]:
    """What each layer of a wholly spiking stack comes to: packed spike trains (B, ...), int32, and the readout's potential."""
    seen: list[Tensor] = []

    def observe(run: LayerRun) -> None:
        seen.append(run.outcome.words if isinstance(run.outcome, Spikes) else run.outcome)

    simulate(stack.spiking_layers(), x, observe)
    return seen


@torch.no_grad()
def fire(layers: Sequence[SpikingLayer], x: Tensor) -> Spikes:
    """Spikes of the last of `layers`, layer by layer over the whole window. Shape: (B, ...) -> (B, ...)."""
    spikes = layers[0].encode(x)
    for layer in layers[1:]:
        spikes = layer.fire(spikes)
    return spikes


@torch.no_grad()
def simulate(layers: Sequence[SpikingLayer], x: Tensor, observe: Observer | None = None) -> Tensor:
    """Free aggregate membrane potential of the last layer. Shape: (B, ...) -> (B, ...).

    One layer after the other runs over the whole window, under either schedule: what a layer fires at a step depends on the
    layers before it only, so that time need not run on all of them at once.
    """
    signal: Spikes | Tensor = x
    for position, layer in enumerate(layers):
        signal = run_layer(position, layer, signal, observe)
    assert isinstance(signal, Tensor)  # the last layer is a readout
    return signal


def run_layer(position: int, layer: SpikingLayer, incoming: Spikes | Tensor, observe: Observer | None) -> Spikes | Tensor:
    """What a layer makes of its input over the whole window. Shapes: (B, ...) -> (B, ...)."""
    outcome = layer.run(incoming)
    if observe is not None:
        observe(LayerRun(position, layer, incoming, outcome))
    return outcome
