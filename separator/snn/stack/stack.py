"""A stack of layers: analog, spiking, in tandem, or each of these in part while it is being converted."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.ranges import check_layer
from separator.snn.layers.signal import Signal
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.layers.support import check_sizes
from separator.snn.layers.twins import with_window
from separator.snn.learning.rules import RULES, LearningOptions
from separator.snn.learning.stdb.layer import StdbLayer
from separator.snn.learning.surrogate import Surrogate
from separator.snn.learning.tandem import TandemLayer
from separator.snn.learning.through_time import ThroughTimeLayer
from separator.snn.spikes.trains import LONGEST, Spikes
from separator.snn.stack import converting, relearning
from separator.snn.stack.connected import ConnectedLayers
from separator.snn.stack.graph import INPUT, Sources, forget_unseen, frontier, in_layer
from separator.snn.stack.prefix import Prefix, fingerprint
from separator.snn.stack.simulation import LayerRun, Observer, fire, simulate
from separator.snn.stack.through_time import readings
from separator.snn.synapses.incoming import IncomingMap
from separator.snn.thresholds.rules import THRESHOLDS, ThresholdOptions


class Stack(ConnectedLayers):
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
        ValueError: there are fewer layers, a plain module is in the place of one, or their sources are impossible; the message
            names the layer.
    """

    def __init__(
        self, layers: Sequence[AnalogLayer], readout: str = "rectified", sources: Sequence[Sources] | None = None
    ) -> None:
        super().__init__(layers, readout, sources)
        self.observer: Observer | None = None
        self._prefix: Prefix | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Activation of the last layer, or its membrane potential once it is spiking or in tandem. Shape: (B, ...)."""
        return self.readings(x)[-1]

    def readings(self, x: Tensor) -> list[Tensor]:
        """Outputs at the end of each segment that the stack learns in: the last one, and what the steps so far come to before.

        There are several only while it learns through time in segments. Shape: (B, ...) each.
        """
        spiking = self.spiking_layers()
        if len(spiking) == len(self.layers):
            return [self.read(simulate(spiking, x, self.sources, self.observer))]
        if not self.training and self.dynamics is not None and self.dynamics.window > LONGEST and not self.has_analog:
            return [self.read(simulate(converting.frozen(self), x, self.sources, self.observer))]
        learning = [layer for layer in self.layers if isinstance(layer, StdbLayer)]
        if self.training and len(learning) == len(self.layers):
            return list(map(self.read, readings(learning, self.sources, x)))
        return self._layer_by_layer(x)

    @property
    def segments(self) -> int:
        """Number of the segments that it learns in; 1 where it does not learn through time, or is in evaluation mode."""
        last = self.layers[-1]
        return len(last.ends) if self.training and isinstance(last, ThroughTimeLayer) else 1

    def _layer_by_layer(self, x: Tensor) -> list[Tensor]:
        """The same where there are analog layers, or layers that run by themselves."""
        signals = self._handed_on(x)
        spiking = self.spiking_layers()
        for i in range(len(spiking), len(self.layers)):
            layer, (incoming, beside) = self.layers[i], self.incoming(signals, i)
            with in_layer(i):
                if isinstance(layer, TandemLayer):
                    check_sizes(layer.layer, incoming.activation, None if beside is None else beside.activation)
                    signals[i] = layer(incoming, beside)
                else:
                    signals[i] = Signal(layer(incoming.activation, None if beside is None else beside.activation))
            forget_unseen(signals, self.sources, i + 1)
        last = signals[len(self.layers) - 1]
        if not isinstance(self.layers[-1], TandemLayer):
            return [last.activation]
        return list(map(self.read, [last.activation] if last.readings is None else last.readings))

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

    def restore(self, converted: int, dynamics: Dynamics, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        """Make the first `converted` layers spiking, their numbers taken from the state dict `tensors`.

        Layers that are spiking already get other numbers, and keep their dynamics.

        Raises:
            KeyError: a tensor is missing.
            UserError: numbers of a layer are no conversion's; the message names it.
        """
        for i in range(converted):
            layer = self.layers[i]
            if isinstance(layer, SpikingLayer):
                apply, other, runs = layer.apply_affine, layer.apply_shortcut, layer.dynamics
            else:
                assert isinstance(layer, AnalogLayer)
                apply, other, runs = layer.synapses, layer.shortcut_synapses, dynamics

            def number(name: str, own: str = f"{prefix}layers.{i}.") -> Tensor:
                return tensors[own + name]

            neurons = {name: number(name) for name in runs.model.names}
            shortcut = None if other is None else IncomingMap(other, number("shortcut"))
            numbers = number("weight"), number("bias"), neurons, number("quantum")
            spiking = SpikingLayer(apply, self.role(i, runs), *numbers, runs, shortcut)
            with in_layer(i):
                check_layer(spiking, layer if isinstance(layer, AnalogLayer) else None)
            self.layers[i] = spiking

    def convert(
        self,
        x: Tensor | Sequence[Tensor],
        dynamics: Dynamics,
        percentile: float = 99.0,
        channelwise: bool = False,
        rate: float | None = None,
        share: bool = False,
        rule: str | None = None,
        scale: float = 1.0,
        steps: int | None = None,
    ) -> None:
        """Make all layers of a wholly analog stack spiking at once, without tuning.

        Args:
            x: input of the stack, whose activations thresholds are taken from; batches of it one by one, if it is much.
            dynamics: how the neurons run.
            percentile: of the activations, their upper bound.
            channelwise: a threshold per channel instead of one per layer.
            rate: thresholds per layer that make it fire at about this mean rate, in place of those of the percentile.
            share: one threshold for all layers of a chain, see `separator.snn.stack.chains`.
            rule: see `separator.snn.thresholds.rules`; None for "rate" if there is one, else "percentile".
            scale: of thresholds that are balanced, once all of them are found.
            steps: time steps that they are balanced over; None for those of the window.

        Raises:
            UserError: there is no batch; a layer is never active on `x`, or less than `rate` asks for; its numbers cannot be
                made integers, or its activation is not what neurons stand for. The message names it.
        """
        bounds = percentile, channelwise, rate, dynamics.limits, scale, steps
        options = ThresholdOptions(dynamics.window, dynamics.initial_potential, *bounds)
        chosen = THRESHOLDS.pick(rule or ("percentile" if rate is None else "rate"))
        batches = [x] if isinstance(x, Tensor) else x
        converting.convert(self, batches, dynamics, chosen, options, share)

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
            UserError: a layer is never active on `x`.
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
            UserError: a layer is never active on `x`; layers wait for all of their input, so that no spike has a time.
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
        threshold: str = "percentile",
        rate: float | None = None,
    ) -> None:
        """Have all layers of a wholly analog stack spike and learn together, by a rule; see `separator.snn.learning.rules`.

        Thresholds are those of the activations on `x`, by the rule `threshold`, as in `convert`.

        Raises:
            UserError: a layer is never active on `x`, cannot learn so, or thresholds shall be balanced, which takes spikes.
        """
        bounds = percentile, channelwise, rate, dynamics.limits
        thresholds = ThresholdOptions(dynamics.window, dynamics.initial_potential, *bounds)
        converting.couple(self, x, dynamics, RULES.pick(rule), options, THRESHOLDS.pick(threshold), thresholds)

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
        return converting.unfreeze(self, learn_thresholds, weight_bits, mask_gradient, first)

    def relearn(self, analog: Sequence[AnalogLayer], rule: str, options: LearningOptions, dynamics: Dynamics) -> None:
        """Have the layers of a wholly spiking stack learn together by a rule, as the layers that they were converted from.

        Args:
            analog: those layers, or others like them, which have seen an input: their pooling and dropout are the learning
                ones', their numbers do not matter.
            rule: see `separator.snn.learning.rules`.
            options: of the rule.
            dynamics: how the neurons run from now on.

        Raises:
            UserError: the stack is not wholly spiking, or weights are none that the layers could have.
        """
        relearning.relearn(self, analog, RULES.pick(rule), options, dynamics)

    def freeze(self) -> None:
        """Make all layers in tandem, or through time, of a stack without analog ones spiking.

        Raises:
            UserError: there are analog ones, or numbers of a layer cannot be made integers; the message names it.
        """
        converting.freeze(self)

    def set_window(self, window: int) -> None:
        """Give a wholly spiking stack another time window, the upper bounds of its activations staying as they are.

        Raises:
            UserError: there is no such window, or the stack is not wholly spiking.
        """
        if self.converted < len(self.layers):
            raise UserError("time windows are those of wholly spiking stacks; convert this one first")
        for i, layer in enumerate([with_window(layer, window, drawn=i == 0) for i, layer in enumerate(self.spiking_layers())]):
            self.layers[i] = layer

    @contextmanager
    def given_prefix(self, prefix: Prefix | None) -> Iterator[None]:
        """Take the spikes that spiking layers hand on from here, for the input that they are of, instead of simulating them."""
        self._prefix = prefix
        try:
            yield
        finally:
            self._prefix = None


@torch.no_grad()
def outcomes(stack: Stack, x: Tensor) -> list[Tensor]:
    """Outcome of each layer of a wholly spiking stack: spike trains (B, ...), and the readout's potential.

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
