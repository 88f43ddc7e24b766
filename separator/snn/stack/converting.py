"""A whole stack from analog to spiking, or in tandem, and back; see the methods of `Stack`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.fold import folded
from separator.snn.layers.quantised import QuantisedReLU
from separator.snn.layers.rounding import check_input
from separator.snn.layers.signal import Signal
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.layers.support import check_activation, check_sizes, check_supported
from separator.snn.layers.twins import analog_twin
from separator.snn.learning.rules import LearningOptions, LearningRule
from separator.snn.learning.stdb.layer import StdbLayer
from separator.snn.learning.tandem import TandemLayer
from separator.snn.stack.chains import activations_of, chain_from, is_joined
from separator.snn.stack.connected import ConnectedLayers
from separator.snn.stack.graph import INPUT, adds_the_one_before, forget_unseen, in_layer, is_bypassed
from separator.snn.stack.recorded import RecordedRun
from separator.snn.thresholds.rules import Observed, ThresholdOptions, ThresholdRule


def check_neurons(stack: ConnectedLayers, dynamics: Dynamics) -> None:
    """Refuse activations that neurons, or the readout, cannot stand for, in layers that are analog still.

    Raises:
        UserError: a layer has one; the message names it.
    """
    for i, layer in enumerate(stack.layers):
        if not isinstance(layer, AnalogLayer):
            continue
        last = i == len(stack.layers) - 1
        with in_layer(i):
            if stack.role(i, dynamics) != "readout":
                check_activation(layer, dynamics, last)
            elif stack.readout == "rectified" and isinstance(layer.activation, nn.LeakyReLU):
                raise UserError(
                    f"it has {layer.activation}, and is read rectified; have it read by counts, or take its activation away"
                )


@contextmanager
def changing(stack: ConnectedLayers) -> Iterator[None]:
    """Evaluation mode within; what goes wrong leaves the stack as it was."""
    training, before, readout = stack.training, list(stack.layers), stack.readout
    stack.eval()  # dropout and statistics of batches are no part of what is converted
    try:
        yield
    except BaseException:
        for i, layer in enumerate(before):
            stack.layers[i] = layer
        stack.readout = readout
        raise
    finally:
        stack.train(training)


@torch.no_grad()
def convert(
    stack: ConnectedLayers,
    batches: Sequence[Tensor],
    dynamics: Dynamics,
    rule: ThresholdRule,
    options: ThresholdOptions,
    share: bool,
) -> None:
    """Make all layers of a wholly analog stack spiking at once."""
    check_supported(list(stack.layers))
    check_neurons(stack, dynamics)
    if not len(batches):
        raise UserError("there is no batch that thresholds could be taken from; give some of what the network sees")
    x = batches[0]
    for batch in batches:
        check_input(batch, dynamics)
    joined = [is_joined(list(stack.layers), stack.sources, i) for i in range(len(stack.layers))]
    with changing(stack):
        if rule.balances:
            for i, layer, threshold in _balanced(stack, batches, dynamics, rule, options):
                _convert_layer(stack, i, layer, threshold, dynamics)
            return
        for i, layer, threshold in _thresholds(stack, batches, dynamics, rule, options, share):
            chained = share and stack.role(i, dynamics) == "fire" and joined[i]  # a chain shares that of its first layer
            scale = stack.scales(i, x, dynamics)[0] if chained else None
            _convert_layer(stack, i, layer, threshold if scale is None else scale, dynamics)


def _convert_layer(stack: ConnectedLayers, index: int, layer: AnalogLayer, threshold: Tensor, dynamics: Dynamics) -> None:
    """Put a spiking layer behind spiking ones."""
    with in_layer(index):
        scale, beside = stack.scales(index, threshold, dynamics)
        scale = torch.ones(1, device=threshold.device) if scale is None else scale
        stack.layers[index] = SpikingLayer.convert(
            layer, stack.role(index, dynamics), scale, threshold, dynamics, beside=beside
        )


def _balanced(
    stack: ConnectedLayers, batches: Sequence[Tensor], dynamics: Dynamics, rule: ThresholdRule, options: ThresholdOptions
) -> list[tuple[int, AnalogLayer, Tensor]]:
    """The layers of a wholly analog stack, converted meanwhile, with thresholds that are balanced and then scaled.

    While they are sought neurons do not leak (Rathi et al. 2020 do likewise), and run for as many steps as the options say.
    A threshold stands for what a spike is worth times what the layer makes of it; the scale is of the latter, so that a
    layer's threshold has that of each balanced layer before it, too.
    """
    if dynamics.schedule != "pipelined":
        raise UserError(f"thresholds are balanced over the steps of pipelined layers, not '{dynamics.schedule}'")
    steps, leaking = options.steps or dynamics.window, dynamics.neuron_options
    still = {name: value for name, value in leaking.items() if name != "leak"}
    sought = replace(dynamics, window=steps, neuron_options=still)
    own = replace(options, window=steps, limits=sought.limits)
    found: list[tuple[int, AnalogLayer, Tensor]] = []
    scales = {INPUT: steps / dynamics.window}
    for i, layer, threshold in _thresholds(stack, batches, sought, rule, own):
        _convert_layer(stack, i, layer, threshold, sought)
        once = 1.0 if is_bypassed(stack.sources, i) else options.scale
        scales[i] = scales[stack.sources[i][0][0]] * once
        found.append((i, layer, threshold * scales[i]))
    return found


@torch.no_grad()
def _thresholds(
    stack: ConnectedLayers,
    batches: Sequence[Tensor],
    dynamics: Dynamics,
    rule: ThresholdRule,
    options: ThresholdOptions,
    share: bool = False,
) -> Iterator[tuple[int, AnalogLayer, Tensor]]:
    """The layers of a wholly analog stack with their thresholds.

    Of a chain that shares one, the first layer's is that of all. Each layer may be replaced in the stack as it comes.
    """
    analog, x, run = list(stack.layers), batches[0], RecordedRun(stack, batches, dynamics)
    handed = {INPUT: Signal(x)}
    most: dict[int, float] = {}  # that layers hand on whose activations are clipped
    for i, layer in enumerate(analog):
        assert isinstance(layer, AnalogLayer)
        (incoming, beside), threshold = stack.incoming(handed, i), torch.ones(1)
        heads = share and not is_joined(analog, stack.sources, i)
        chain = chain_from(analog, stack.sources, i) if heads else [layer]
        other = None if beside is None else beside.activation
        with in_layer(i):
            check_sizes(layer, incoming.activation, other)
        activations = list(activations_of(chain or [layer], incoming.activation, other))
        handed[i] = Signal(activations[0])
        if stack.role(i, dynamics) != "readout":
            seen = Observed(
                partial(_each, activations, stack, analog, batches[1:], i, len(chain), most),
                partial(run.currents, i, layer),
                lambda layer=layer: folded(layer)[0],  # type: ignore[misc]
                lambda i=i: stack.scales(i, x, dynamics)[0],  # type: ignore[misc]
                is_bypassed(stack.sources, i),
            )
            with in_layer(i):
                heeded = replace(options, below=dynamics.model.initial_below(options.initial_potential, layer.activation))
                learned = layer.activation.bound.detach() if isinstance(layer.activation, QuantisedReLU) else None
                bound = rule.bound(seen, heeded) if learned is None else learned
            threshold = bound / options.levels
            if rule.clips and learned is None:  # as spikes hand it on, which matters where much is above
                most[i] = float(bound)
                handed[i] = Signal(activations[0].clamp(max=most[i]))
        yield i, layer, threshold.to(x.device)
        forget_unseen(handed, stack.sources, i + 1)


def _each(
    first: Sequence[Tensor],
    stack: ConnectedLayers,
    analog: Sequence[nn.Module],
    batches: Sequence[Tensor],
    index: int,
    chained: int,
    most: Mapping[int, float],
) -> Iterator[Tensor]:
    """Activations of layer `index`, and of those chained to it, on the first batch, and then on further ones.

    These run through the analog layers anew for each layer, so that nothing of them has to be kept. What layers before hand on
    is clipped to `most`, where there is a bound.
    """
    yield from first
    for batch in batches:
        handed = {INPUT: Signal(batch)}
        for i, layer in enumerate(analog[: index + max(1, chained)]):
            incoming, beside = stack.incoming(handed, i)
            assert isinstance(layer, AnalogLayer)
            activation = layer(incoming.activation, None if beside is None else beside.activation)
            handed[i] = Signal(activation.clamp(max=most[i]) if i in most else activation)
            if i >= index:
                yield handed[i].activation
            forget_unseen(handed, stack.sources, i + 1)


def couple(
    stack: ConnectedLayers,
    x: Tensor,
    dynamics: Dynamics,
    rule: LearningRule,
    options: LearningOptions,
    thresholds: ThresholdRule,
    bounds: ThresholdOptions,
) -> None:
    """Have all layers of a wholly analog stack spike and learn together."""
    if thresholds.balances:
        raise UserError("thresholds are balanced where a stack is converted at once; convert first, then learn")
    check_supported(list(stack.layers))
    check_neurons(stack, dynamics)
    check_input(x, dynamics)
    with changing(stack):
        for analog in (layer for layer in stack.layers if isinstance(layer, AnalogLayer)):
            for part in analog.with_shortcut():
                if part.norm is not None:
                    part.norm.train(options.batch_statistics)
        for i, layer, threshold in _thresholds(stack, [x], dynamics, thresholds, bounds):
            with in_layer(i):
                stack.layers[i] = rule(layer, stack.role(i, dynamics), threshold, dynamics, options)
        join_stdb(stack)


def join_stdb(stack: ConnectedLayers) -> None:
    """Let all layers that learn by stdb have one leak.

    Raises:
        UserError: the last of them fires, where it learns by its potential.
    """
    learning = [layer for layer in stack.layers if isinstance(layer, StdbLayer)]
    if learning and learning[-1].role == "fire":
        raise UserError(
            "by stdb learn networks that are read by the potential of their last layer, and that of this one fires; convert "
            "with --conversion.readout potential"
        )
    for layer in learning:
        layer.free_leak = learning[0].free_leak


def wholly_spiking(stack: ConnectedLayers) -> list[SpikingLayer]:
    """The layers of a stack all of which are spiking.

    Raises:
        UserError: some are not.
    """
    spiking = stack.spiking_layers()
    if len(spiking) < len(stack.layers):
        raise UserError(f"{len(stack.layers) - len(spiking)} layers of the stack are not spiking; convert them first")
    return spiking


def unfreeze(
    stack: ConnectedLayers, learn_thresholds: bool, weight_bits: int | None, mask_gradient: bool, first: int
) -> Dynamics:
    """Put the layers of a wholly spiking stack in tandem with analog twins."""
    spiking = wholly_spiking(stack)
    dynamics = spiking[0].dynamics
    if weight_bits is not None:
        dynamics = replace(dynamics, weight_bits=weight_bits)
    scales = [stack.scales(i, spiking[0].weight, dynamics) for i in range(len(spiking))]
    for i, layer in list(enumerate(spiking))[first:]:
        # A chain with one threshold a channel goes on having one, which learns if all of the chain does.
        inherits = layer.passes_spikes and adds_the_one_before(stack.sources, i)
        before = stack.layers[i - 1] if inherits else None
        learns = learn_thresholds and layer.role != "readout" and not isinstance(before, SpikingLayer)
        twin = analog_twin(layer, *scales[i])
        tandem = TandemLayer(twin, layer.role, layer.scale, dynamics, learns, mask_gradient, inherits=inherits)
        if isinstance(before, TandemLayer):
            tandem.gain = before.gain
        stack.layers[i] = tandem
    return dynamics


def freeze(stack: ConnectedLayers) -> None:
    """Make all layers in tandem, or through time, of a stack without analog ones spiking."""
    for i, layer in enumerate(frozen(stack)):
        stack.layers[i] = layer


@torch.no_grad()
def frozen(stack: ConnectedLayers) -> list[SpikingLayer]:
    """The spiking layers of a stack without analog ones, as they would be now; the stack stays as it is."""
    if stack.has_analog:
        raise UserError("there are analog layers in the stack; convert them, or put all of it in tandem first")
    made: list[SpikingLayer] = []
    for i, layer in enumerate(stack.layers):
        if isinstance(layer, TandemLayer):
            scale, beside = stack.scales(i, layer.base_threshold, layers=made)
            with in_layer(i):
                layer = layer.spiking(scale, beside=beside)
        assert isinstance(layer, SpikingLayer)
        made.append(layer)
    return made
