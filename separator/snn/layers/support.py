"""Check that layers can be converted, made on their modules before anything is computed."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils import parametrize

from separator.errors import UserError
from separator.snn.layers.analog import ACTIVATIONS, AnalogLayer, Norm
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.fan_in import Masked
from separator.snn.neurons.neuron import Neuron
from separator.snn.synapses.affine import CausalConv2d
from separator.snn.synapses.sizes import check_input

FORWARDS = {kind: kind.forward for kind in (nn.Linear, nn.Conv1d, nn.Conv2d, CausalConv2d, nn.BatchNorm1d, nn.BatchNorm2d)}
SUPPORTED = (
    "supported are Linear, Conv1d and Conv2d with zero padding, each with or without batch norm that keeps running statistics, "
    "then an activation"
)


def check_supported(layers: Sequence[nn.Module]) -> None:
    """Refuse layers of a stack that cannot be converted.

    Raises:
        UserError: a layer cannot be; the message names it, and says what can, or what to do.
    """
    for i, layer in enumerate(layers):
        if (problem := problem_of(layer)) is not None:
            raise UserError(f"layer {i} of the stack {problem}")


def check_sizes(layer: AnalogLayer, x: Tensor, beside: Tensor | None = None) -> None:
    """Refuse input, (B, ...) as it reaches a layer, of a shape that the layer does not take once it is spiking.

    Args:
        layer: the layer.
        x: its input.
        beside: that of its shortcut, if it is something else.

    Raises:
        UserError: as `check_input`.
    """
    for part, seen in zip(layer.with_shortcut(), (x, x if beside is None else beside), strict=False):
        absorbs = part.before and part.map_of_affine is None  # the weight of all of its map is not known then
        check_input(part.synapses, seen.shape, None if absorbs else part.affine.weight.shape)


def problem_of(layer: nn.Module) -> str | None:
    """Problem that keeps an analog layer from being converted; None if there is none."""
    if not isinstance(layer, AnalogLayer):
        return f"is a {type(layer).__name__} and cannot be converted; {SUPPORTED}"
    for part in layer.with_shortcut():
        for module in (part.affine, part.norm, part.activation):
            if module is not None and (problem := _problem(module)) is not None:
                return problem
    return None


def _problem(module: nn.Module) -> str | None:
    name = type(module).__name__
    if "forward" in vars(module):
        return f"has a {name} whose forward() is not that of its class; give the layers that it is made of"
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | Norm):
        known = any(isinstance(module, kind) and type(module).forward is own for kind, own in FORWARDS.items())
        if not known:
            return f"has a {name} with a forward() of its own, which is not known; give the layers that it is made of"
    elif type(module) not in ACTIVATIONS:
        return f"has a {name} and cannot be converted; {SUPPORTED}"
    if isinstance(module, Norm) and module.running_mean is None:
        return f"has a {name} without running statistics and cannot be converted; {SUPPORTED}"
    if isinstance(module, nn.Conv1d | nn.Conv2d) and module.padding_mode != "zeros":
        return f"pads with '{module.padding_mode}' and cannot be converted; {SUPPORTED}"
    return _changed(module)


def _changed(module: nn.Module) -> str | None:
    """Problem with hooks or parametrisations that change what a module computes; None if there is none."""
    name = type(module).__name__
    if module._forward_pre_hooks or module._forward_hooks:
        return (
            f"has a {name} with hooks, as torch.nn.utils.prune and weight_norm put them there; make what they do permanent "
            "(prune.remove, remove_weight_norm), or take them away"
        )
    own: list[nn.Module] = []
    if parametrize.is_parametrized(module):
        lists = getattr(module, "parametrizations").values()  # noqa: B009
        own = [parametrization for entries in lists for parametrization in entries]
    if not all(isinstance(parametrization, Masked) for parametrization in own):
        return f"has a {name} with parametrised weights; make them plain (torch.nn.utils.parametrize.remove_parametrizations)"
    return None


def check_activation(layer: AnalogLayer, dynamics: Dynamics, last: bool = True) -> None:
    """Refuse activations that the spikes of a neuron model cannot stand for.

    Args:
        layer: whose neurons fire.
        dynamics: how.
        last: whether it is the last of its stack, which may be without activation, whatever fires: of scores that are read
            by counts the largest is still that.

    Raises:
        UserError: the layer's is one; the message says what can be.
    """
    model: Neuron = dynamics.model
    activation = layer.activation
    without = activation is None and (last or model.limits(dynamics.window)[0] < 0)
    if not (without or isinstance(activation, model.activations)):
        kinds = ", ".join(kind.__name__ for kind in model.activations)
        what = activation or "a layer without activation; give it one, or take neurons with two thresholds"
        raise UserError(f"spikes of the neuron model '{dynamics.neuron}' stand for {kinds}, not for {what}")
