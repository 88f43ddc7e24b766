"""A spiking stack that learns again as what it was converted from, its pooling and dropout apart from its weights."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.layers.twins import analog_twin
from separator.snn.learning.rules import LearningOptions, LearningRule
from separator.snn.stack.connected import ConnectedLayers
from separator.snn.stack.converting import join_stdb, wholly_spiking
from separator.snn.stack.graph import in_layer
from separator.snn.synapses.absorb import absorbed_weight
from separator.snn.synapses.affine import affine_map


def relearn(
    stack: ConnectedLayers, analog: Sequence[AnalogLayer], rule: LearningRule, options: LearningOptions, dynamics: Dynamics
) -> None:
    """Put layers that learn in the place of those of a wholly spiking stack; see `Stack.relearn`."""
    made = []
    for i, (layer, like) in enumerate(zip(wholly_spiking(stack), analog, strict=True)):
        with in_layer(i):
            twin = restored_twin(layer, like, *stack.scales(i, layer.quantum, dynamics))
            made.append(rule(twin, layer.role, _one_if_equal(layer.scale), dynamics, options))
    for i, learning in enumerate(made):
        stack.layers[i] = learning
    join_stdb(stack)


@torch.no_grad()
def restored_twin(layer: SpikingLayer, like: AnalogLayer, scale: Tensor | None, beside: Tensor | None = None) -> AnalogLayer:
    """The analog layer that a spiking one converts from, with the layers before its affine one as `like` has them.

    Batch norm is folded: there is a constant in its place.

    Args:
        layer: spiking.
        like: the analog layer's architecture; it has seen an input.
        scale: activation that an incoming spike stands for; None if the input is analog.
        beside: the same of the spikes that the shortcut sees; None if they are the same.

    Raises:
        UserError: there is no such layer with these weights.
    """
    joint, twin = analog_twin(layer, scale, beside), copy.deepcopy(like)
    _take(twin, joint)
    if isinstance(twin.shortcut, AnalogLayer) and isinstance(joint.shortcut, AnalogLayer):
        _take(twin.shortcut, joint.shortcut)
    return twin


def _take(twin: AnalogLayer, joint: AnalogLayer) -> None:
    """Take the numbers of a layer into which the layers before the affine one are absorbed."""
    affine, bias = twin.affine, joint.affine.bias
    if twin.before:
        affine.weight.copy_(restored_weight(twin, joint.affine.weight))
    else:
        affine.weight.copy_(joint.affine.weight.view_as(affine.weight))
    if bias is not None and (affine.bias is not None or twin.norm is not None or bool(bias.any())):
        affine.bias = nn.Parameter(bias.detach().clone())
    twin.norm = None


def restored_weight(layer: AnalogLayer, joint: Tensor) -> Tensor:
    """Weight of a layer's affine map from that of its synapses, into which pooling before it is absorbed.

    Raises:
        UserError: inputs that pooling averages have weights of their own.
    """
    assert layer.seen is not None, "the layer has seen no input"
    before, apply, seen = list(layer.before), affine_map(layer.affine), layer.seen
    with torch.enable_grad():
        # Each weight is spread over the same number of inputs with the same factor: the transposed map is the inverse but
        # for a number.
        weight = torch.ones_like(layer.affine.weight, requires_grad=True)
        spread = absorbed_weight(before, apply, weight, seen)
        (back,) = torch.autograd.grad(spread, weight, joint.view_as(spread), retain_graph=True)
        (factor,) = torch.autograd.grad(spread, weight, spread.detach())
    restored = back / factor
    again = absorbed_weight(before, apply, restored, seen)
    if not torch.allclose(again, joint.view_as(again), rtol=1e-4, atol=1e-4 * float(joint.abs().max())):
        raise UserError(
            "inputs that pooling averages have learned weights of their own, so that there is no pooling any more; start from "
            "a conversion that was not tuned (--conversion.at_once, or max_epochs 0)"
        )
    return restored


def _one_if_equal(threshold: Tensor) -> Tensor:
    """A threshold for all channels, if they have the same. Shape: (C,) -> (1,) or (C,)."""
    return threshold[:1].clone() if bool((threshold == threshold[0]).all()) else threshold
