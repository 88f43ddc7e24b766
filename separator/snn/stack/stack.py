"""A stack of layers: analog, spiking, in tandem, or each of these in part while it is being converted."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.coding.inputs import SpikeCoding
from separator.snn.coding.readouts import READOUTS
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics, Role
from separator.snn.layers.quantised import QuantisedReLU
from separator.snn.layers.ranges import check_layer
from separator.snn.layers.rounding import check_input
from separator.snn.layers.signal import Signal, currents_of, joined_signals
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.layers.support import check_supported
from separator.snn.learning.rules import RULES, LearningOptions
from separator.snn.learning.surrogate import Surrogate
from separator.snn.learning.tandem import TandemLayer
from separator.snn.spikes.trains import Spikes
from separator.snn.stack.chains import activations_of, chain_from, is_joined
from separator.snn.stack.graph import INPUT, Sources, check_graph, forget_unseen, frontier, in_a_row, seen_by
from separator.snn.stack.simulation import LayerRun, Observer, fire, presented, simulate
from separator.snn.synapses.incoming import IncomingMap
from separator.snn.thresholds.rules import THRESHOLDS, Observed, ThresholdOptions


class Prefix(NamedTuple):
    """What the spiking layers at the front hand on to others, of one input of the stack."""

    of: int  # fingerprint of the input
    spikes: Mapping[int, Spikes]  # by position of the layer


def fingerprint(x: Tensor) -> int:
    """A number that tells inputs apart, within one process."""
    return hash((tuple(x.shape), x.detach().cpu().contiguous().numpy().tobytes()))


def role_of(index: int, layers: int, dynamics: Dynamics, readout: str) -> Role:
    """Role of a layer of a stack of so many in the spiking network."""
    if index == 0:
        return dynamics.first_role
    return "readout" if index == layers - 1 and not READOUTS.pick(readout).fires else "fire"


class Stack(nn.Module):
    """Layers in an order in which they can run: spiking ones in front, then ones in tandem, then analog ones.

    Only the first layer sees the input of the stack. What the others see is a graph: the output of one layer, or of several,
    channel behind channel; a shortcut sees the same, or others, as in residual networks. The last layer is read out: the
    network behind it sees its free aggregate membrane potential (section 3.4), or what its counts stand for.

    Args:
        layers: at least two analog layers.
        readout: how the last one is read; see `separator.snn.coding.readouts`.
        sources: of each layer, for each of its incoming maps, the positions of the layers that it sees, and `graph.INPUT` for
            the first; None where each sees the one before.

    Raises:
        ValueError: there are fewer layers, or their sources are impossible; the message names the layer.
    """

    def __init__(
        self, layers: Sequence[AnalogLayer], readout: str = "rectified", sources: Sequence[Sources] | None = None
    ) -> None:
        super().__init__()
        if len(layers) < 2:
            raise ValueError("a stack has at least two layers: one that encodes and one that is read out")
        self.sources = in_a_row(layers) if sources is None else list(sources)
        check_graph(layers, self.sources)
        self.layers = nn.ModuleList(layers)
        self.set_readout(readout)
        self.observer: Observer | None = None
        self._prefix: Prefix | None = None

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
        waits = 1 if self.dynamics.schedule == "pipelined" else self._longest_path()
        return self.dynamics.window * waits

    def _longest_path(self) -> int:
        """Layers that fire one after the other on the longest way from the input to the readout."""
        depths: list[int] = []
        for maps in self.sources:
            depths.append(1 + max((depths[i] for own in maps for i in own if i != INPUT), default=0))
        return depths[-1] - (0 if READOUTS.pick(self.readout).fires else 1)

    def role(self, index: int, dynamics: Dynamics) -> Role:
        """Role of a layer in the spiking network."""
        return role_of(index, len(self.layers), dynamics, self.readout)

    def spiking_layers(self) -> list[SpikingLayer]:
        """The spiking layers at the front."""
        return [layer for layer in self.layers if isinstance(layer, SpikingLayer)]

    def forward(self, x: Tensor) -> Tensor:
        """Activation of the last layer, or its membrane potential once it is spiking or in tandem. Shape: (B, ...)."""
        spiking = self.spiking_layers()
        if len(spiking) == len(self.layers):
            return self.read(simulate(spiking, x, self.sources, self.observer))
        signals = self._handed_on(x)
        for i in range(len(spiking), len(self.layers)):
            layer, (incoming, beside) = self.layers[i], self.incoming(signals, i)
            with in_layer(i):
                if isinstance(layer, TandemLayer):
                    signals[i] = layer(incoming, beside)
                else:
                    signals[i] = Signal(layer(incoming.activation, None if beside is None else beside.activation))
            forget_unseen(signals, self.sources, i + 1)
        last, activation = self.layers[-1], signals[len(self.layers) - 1].activation
        return self.read(activation) if isinstance(last, TandemLayer) else activation

    def incoming(self, signals: Mapping[int, Signal], index: int) -> tuple[Signal, Signal | None]:
        """What a layer sees, and what its shortcut sees if that is something else."""
        first, second = seen_by(self.sources[index], signals)
        return joined_signals(first), None if second is None else joined_signals(second)

    def _handed_on(self, x: Tensor) -> dict[int, Signal]:
        """The input, and what the spiking layers hand on to others."""
        spiking = self.spiking_layers()
        if not spiking:
            return {INPUT: self.input_signal(x)}
        seen = frontier(self.sources, len(spiking))
        prefix = self._prefix
        if prefix is not None and prefix.of == fingerprint(x):
            spikes: Mapping[int, Spikes] = prefix.spikes
        else:
            spikes = fire(spiking, x, self.sources, seen, self.observer)
        return {i: Signal(spiking[i].activation(spikes[i]), spikes[i], spiking[i].scale) for i in seen}

    def input_signal(self, x: Tensor) -> Signal:
        """What the first layer sees: the input, as spikes too where it is coded by them."""
        dynamics = self.dynamics
        if dynamics is None or not isinstance(dynamics.input_coding, SpikeCoding):
            return Signal(x)
        spikes, scale = presented(dynamics, x, 0, dynamics.window), self.input_scale(dynamics, x)
        assert isinstance(spikes, Spikes) and scale is not None
        return Signal(spikes.values * scale, spikes, scale)

    @staticmethod
    def input_scale(dynamics: Dynamics, like: Tensor) -> Tensor | None:
        """What of the input a spike stands for where it is coded by spikes, (1,); else None."""
        coding = dynamics.input_coding
        return torch.full((1,), coding.scale(dynamics.window), device=like.device) if isinstance(coding, SpikeCoding) else None

    def set_readout(self, readout: str) -> None:
        """Choose how the last layer is read; where that has no activation, its potential is not rectified all the same.

        Raises:
            UserError: there is no such readout.
        """
        last = self.layers[-1]
        READOUTS.pick(readout)
        has_activation = not isinstance(last, AnalogLayer) or last.activation is not None
        self.readout = "potential" if readout == "rectified" and not has_activation else readout

    def read(self, activation: Tensor) -> Tensor:
        """What comes behind the stack sees, from what the last layer's potential or counts stand for."""
        return READOUTS.pick(self.readout).read(activation)

    def scale_of(self, own: Sequence[int], like: Tensor) -> Tensor | None:
        """What spikes stand for that a map sees, (1,) or (C,); None if it sees analog input. The layers are spiking."""
        if own[0] == INPUT:
            dynamics = self.dynamics
            return None if dynamics is None else self.input_scale(dynamics, like)
        layers = [self.layers[i] for i in own]
        return torch.cat([layer.scale for layer in layers if isinstance(layer, SpikingLayer)])

    def scales(self, index: int, like: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """What spikes stand for that a layer sees, and those that its shortcut sees if these are others."""
        maps = self.sources[index]
        apart = len(maps) > 1 and maps[1] != maps[0]
        return self.scale_of(maps[0], like), self.scale_of(maps[1], like) if apart else None

    def restore(self, converted: int, dynamics: Dynamics, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        """Make the first `converted` layers spiking, their numbers taken from the state dict `tensors`.

        Raises:
            KeyError: a tensor is missing.
            UserError: numbers of a layer are no conversion's; the message names it.
        """
        for i in range(converted):
            layer = self.layers[i]
            assert isinstance(layer, AnalogLayer)

            def number(name: str, own: str = f"{prefix}layers.{i}.") -> Tensor:
                return tensors[own + name]

            neurons, shortcut = {name: number(name) for name in dynamics.model.names}, None
            if (synapses := layer.shortcut_synapses) is not None:
                shortcut = IncomingMap(synapses, number("shortcut"))
            spiking = SpikingLayer(
                layer.synapses,
                self.role(i, dynamics),
                number("weight"),
                number("bias"),
                neurons,
                number("quantum"),
                dynamics,
                shortcut,
            )
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
        rule: str | None = None,
    ) -> None:
        """Make all layers of a wholly analog stack spiking at once, without tuning.

        Args:
            x: input of the stack, whose activations thresholds are taken from.
            dynamics: how the neurons run.
            percentile: of the activations, their upper bound.
            channelwise: a threshold per channel instead of one per layer.
            rate: thresholds per layer that make it fire at about this mean rate, in place of those of the percentile.
            share: one threshold for all layers of a chain, see `separator.snn.stack.chains`.
            rule: see `separator.snn.thresholds.rules`; None for "rate" if there is one, else "percentile".

        Raises:
            ValueError: a layer is never active on `x`, or less than `rate` asks for.
            UserError: numbers of a layer cannot be made integers, or its activation is not what neurons stand for; the message
                names it.
        """
        check_supported(list(self.layers))
        check_input(x, dynamics)
        training = self.training
        self.eval()  # dropout and statistics of batches are no part of what is converted
        rule = rule or ("percentile" if rate is None else "rate")
        options = ThresholdOptions(dynamics.window, dynamics.initial_potential, percentile, channelwise, rate)
        for i, layer, threshold in self._thresholds(x, dynamics, rule, options, share):
            with in_layer(i):
                self.layers[i] = self._converted(i, layer, threshold, dynamics, share, x)
        self.train(training)

    def _converted(
        self, index: int, layer: AnalogLayer, threshold: Tensor, dynamics: Dynamics, share: bool, x: Tensor
    ) -> SpikingLayer:
        """A layer behind spiking ones, spiking; its threshold is that of the one before where a chain shares them."""
        role = self.role(index, dynamics)
        scale, beside = self.scales(index, x) if index else (self.input_scale(dynamics, x), None)
        scale = torch.ones(1, device=x.device) if scale is None else scale
        if share and role == "fire" and index and self._is_joined(index, layer):
            threshold = scale
        return SpikingLayer.convert(layer, role, scale, threshold, dynamics, beside=beside)

    def _is_joined(self, index: int, layer: AnalogLayer) -> bool:
        return isinstance(layer.shortcut, nn.Identity) and self.sources[index] == (((index - 1,),) * 2)

    @torch.no_grad()
    def _thresholds(
        self, x: Tensor, dynamics: Dynamics, rule: str, options: ThresholdOptions, share: bool = False
    ) -> Iterator[tuple[int, AnalogLayer, Tensor]]:
        """The layers of a wholly analog stack with their thresholds, as `convert` has them.

        Of a chain that shares one, the first layer's is that of all. Each may be replaced in the stack as it comes.
        """
        chosen, analog = THRESHOLDS.pick(rule), list(self.layers)
        handed = {INPUT: Signal(x)}
        for i, layer in enumerate(analog):
            assert isinstance(layer, AnalogLayer)
            (incoming, beside), threshold = self.incoming(handed, i), torch.ones(1)
            heads = share and not is_joined(analog, self.sources, i)
            chain = chain_from(analog, self.sources, i) if heads else [layer]
            other = None if beside is None else beside.activation
            activations = list(activations_of(chain or [layer], incoming.activation, other))
            handed[i] = Signal(activations[0])
            if self.role(i, dynamics) != "readout":
                seen = Observed(partial(iter, activations), partial(self._currents, x, dynamics, i, layer))
                learned = layer.activation.bound.detach() if isinstance(layer.activation, QuantisedReLU) else None
                bound = chosen.bound(seen, options) if learned is None else learned
                threshold = bound / options.window
                if chosen.clips and learned is None:  # as spikes hand it on, which matters where much is above
                    handed[i] = Signal(activations[0].clamp(max=float(bound)))
            yield i, layer, threshold.to(x.device)
            forget_unseen(handed, self.sources, i + 1)

    def _currents(self, x: Tensor, dynamics: Dynamics, index: int, layer: AnalogLayer) -> Iterator[Tensor]:
        """Currents of each step of a layer behind spiking ones. Shape: (N_s, B, ...), in units of activation."""
        spiking = [layer for layer in list(self.layers)[:index] if isinstance(layer, SpikingLayer)]
        if not spiking:
            raise UserError("thresholds that are set from currents need spikes before them: code the input by spikes")
        spikes = fire(spiking, x, self.sources, range(index))
        signals = {i: Signal(spiking[i].activation(s), s, spiking[i].scale) for i, s in spikes.items()}
        yield currents_of(layer, *self.incoming(signals, index), dynamics.window)

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
        self.couple(x, dynamics, "tandem", LearningOptions(learn_thresholds, False, batch_statistics), percentile, channelwise)

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
        options = LearningOptions(batch_statistics=batch_statistics, surrogate=surrogate)
        self.couple(x, dynamics, "surrogate", options, percentile, channelwise)

    def couple(
        self,
        x: Tensor,
        dynamics: Dynamics,
        rule: str,
        options: LearningOptions,
        percentile: float = 99.0,
        channelwise: bool = False,
    ) -> None:
        """Have all layers of a wholly analog stack spike and learn together, by a rule; see `separator.snn.learning.rules`.

        Thresholds are those of the activations on `x`, as in `convert`.
        """
        couple = RULES.pick(rule)
        check_supported(list(self.layers))
        check_input(x, dynamics)
        training = self.training
        self.eval()
        for analog in (layer for layer in self.layers if isinstance(layer, AnalogLayer)):
            for part in analog.with_shortcut():
                if part.norm is not None:
                    part.norm.train(options.batch_statistics)
        thresholds = ThresholdOptions(dynamics.window, dynamics.initial_potential, percentile, channelwise)
        for i, layer, threshold in self._thresholds(x, dynamics, "percentile", thresholds):
            self.layers[i] = couple(layer, self.role(i, dynamics), threshold, dynamics, options)
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

        Raises:
            UserError: the stack is not wholly spiking.
        """
        spiking = self.spiking_layers()
        if len(spiking) < len(self.layers):
            raise UserError(f"{len(self.layers) - len(spiking)} layers of the stack are not spiking; convert them first")
        dynamics = spiking[0].dynamics
        if weight_bits is not None:
            dynamics = replace(dynamics, weight_bits=weight_bits)
        like = spiking[0].weight
        scales = [self.scales(i, like) for i in range(len(spiking))]
        for i, layer in list(enumerate(spiking))[first:]:
            # A chain with one threshold a channel goes on having one, which learns if all of the chain does.
            before = self.layers[i - 1] if layer.passes_spikes and i and self.sources[i] == (((i - 1,),) * 2) else None
            options = LearningOptions(learn_thresholds and not isinstance(before, SpikingLayer), mask_gradient)
            learns = options.learn_thresholds and layer.role != "readout"
            tandem = TandemLayer(
                layer.analog(*scales[i]), layer.role, layer.scale, dynamics, learns, mask_gradient, inherits=before is not None
            )
            if isinstance(before, TandemLayer):
                tandem.gain = before.gain
            self.layers[i] = tandem
        return dynamics

    def freeze(self) -> None:
        """Make all layers in tandem, or through time, of a stack without analog ones spiking.

        Raises:
            UserError: there are analog ones, or numbers of a layer cannot be made integers; the message names it.
        """
        if any(isinstance(layer, AnalogLayer) for layer in self.layers):
            raise UserError("there are analog layers in the stack; convert them, or put all of it in tandem first")
        for i, layer in enumerate(self.layers):
            if isinstance(layer, TandemLayer):
                scale, beside = self.scales(i, layer.base_threshold)
                with in_layer(i):
                    self.layers[i] = layer.spiking(scale, beside=beside)

    def set_window(self, window: int) -> None:
        """Give a wholly spiking stack another time window, the upper bounds of its activations staying as they are."""
        for i, layer in enumerate(self.spiking_layers()):
            self.layers[i] = layer.with_window(window)

    @contextmanager
    def given_prefix(self, prefix: "Prefix | None") -> Iterator[None]:
        """Take the spikes that spiking layers hand on from here, for the input that they are of, instead of simulating them."""
        self._prefix = prefix
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
    """What each layer of a wholly spiking stack comes to: spike trains (B, ...), and the readout's potential.

    Trains are what they are made of, such as packed words; those that are made of more than one tensor, side by side in front.
    """
    seen: list[Tensor] = []

    def observe(run: LayerRun) -> None:
        seen.append(_words(run.outcome) if isinstance(run.outcome, Spikes) else run.outcome)

    simulate(stack.spiking_layers(), x, stack.sources, observe)
    return seen


def _words(spikes: Spikes) -> Tensor:
    words = getattr(spikes, "words", None)
    return words if isinstance(words, Tensor) else torch.stack(spikes.parts)
