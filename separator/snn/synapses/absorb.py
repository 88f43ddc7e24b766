"""Layers without neurons, between two layers: absorbed into the synapses of the layer behind them.

Average pooling and flattening are linear, and dropout does nothing after training, so that each of them followed by an affine
layer is one affine map. A spiking layer has the synapses of that map: its neurons see the spikes of the layer before directly.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.synapses.affine import AffineMap
from separator.snn.synapses.sizes import rest_of

# From a layer, the map behind it, that map's weight and the shape of the layer's input (C, ...) to the map of both, and to its
# weight. The map is asked for by itself as well, without weight and shape, where a network is built from a file.
MapOf = Callable[[nn.Module, AffineMap], AffineMap]
WeightOf = Callable[[nn.Module, AffineMap, Tensor, torch.Size], Tensor]

_ABSORBED: dict[type[nn.Module], tuple[MapOf, WeightOf]] = {}


def register_absorbed(kind: type[nn.Module], map_of: MapOf, weight_of: WeightOf) -> None:
    """Have layers of a kind absorbed into the affine layer that follows them; subclasses are not meant.

    Args:
        kind: of the layer.
        map_of: what is absorbed and the affine map behind it, as one map.
        weight_of: the weight of that map, differentiable in the weight behind; the bias stays as it is.
    """
    _ABSORBED[kind] = map_of, weight_of


def is_absorbed(layer: nn.Module) -> bool:
    """True if the layer is of a registered kind."""
    return type(layer) in _ABSORBED


def absorbed_names() -> str:
    """The registered kinds, for messages."""
    return ", ".join(sorted(kind.__name__ for kind in _ABSORBED))


def absorbed_map(layers: Sequence[nn.Module], apply: AffineMap) -> AffineMap:
    """The affine map of `layers`, one after the other, and then `apply`.

    Raises:
        ValueError: a layer cannot be absorbed into what follows it.
    """
    for layer in reversed(layers):
        map_of, _ = _ABSORBED[type(layer)]
        apply = map_of(layer, apply)
        if map_of not in (_same_map, _flattened_map, _pooled_map):  # of another's layer, positions may be others
            apply = replace(apply, pooled=())
    return apply


def absorbed_weight(layers: Sequence[nn.Module], apply: AffineMap, weight: Tensor, shape: torch.Size) -> Tensor:
    """Weight of `absorbed_map`, from the weight of `apply` and the shape of the input of the first layer, (C, ...)."""
    shapes = [shape]
    for layer in layers[:-1]:
        shapes.append(layer(torch.empty(1, *shapes[-1], device="meta")).shape[1:])
    for layer, seen in zip(reversed(layers), reversed(shapes), strict=True):
        map_of, weight_of = _ABSORBED[type(layer)]
        weight = weight_of(layer, apply, weight, seen)
        apply = map_of(layer, apply)
    return weight


class Pooled(NamedTuple):
    """An affine map behind sums of neighbouring inputs, which is the same as a map whose weights are repeated over them."""

    size: tuple[int, ...]  # inputs that are summed, by dimension of position
    apply: AffineMap
    weight: Tensor

    def sums(self, x: Tensor) -> Tensor:
        """Sums of the neighbours. Shape: (B, C, ...) -> (B, C, ...), exact as long as they fit."""
        for dimension, n in enumerate(self.size, 2):
            x = torch.unflatten(x, dimension, (-1, n)).sum(dimension + 1)
        return x


def pooled_apart(apply: AffineMap, weight: Tensor, shape: Sequence[int]) -> Pooled | None:
    """A map that averages, with its sums apart, which saves most of the products; None where its weights are not repeated.

    Args:
        apply: the map.
        weight: its weight, in any numbers.
        shape: of an input, (C, ...).
    """
    dimensions = len(shape) - 1
    n = round(apply.averaged ** (1 / max(1, dimensions)))
    if n < 2 or n**dimensions != apply.averaged or any(length % n for length in shape[1:]):
        return None
    size = (n,) * dimensions
    taps = weight.view(len(weight), *shape) if apply.kind is nn.Linear else weight
    steps = [*apply.stride, *(zeros for pair in apply.padding for zeros in pair), *taps.shape[2:]]
    if any(step % n for step in steps):
        return None
    first = taps[(slice(None), slice(None), *(slice(None, None, n) for _ in size))]
    repeated = first
    for dimension in range(2, taps.dim()):
        repeated = repeated.repeat_interleave(n, dimension)
    if not torch.equal(repeated, taps):
        return None
    if apply.kind is nn.Linear:
        return Pooled(size, replace(apply, averaged=1, pooled=()), first.flatten(1))
    stride = tuple(step // n for step in apply.stride)
    padding = tuple((before // n, after // n) for before, after in apply.padding)
    return Pooled(size, replace(apply, stride=stride, padding=padding, averaged=1, pooled=(), runs=()), first.contiguous())


def _same_map(layer: nn.Module, apply: AffineMap) -> AffineMap:
    return apply


def _same_weight(layer: nn.Module, apply: AffineMap, weight: Tensor, shape: torch.Size) -> Tensor:
    return weight


def _flattened_map(layer: nn.Module, apply: AffineMap) -> AffineMap:
    assert isinstance(layer, nn.Flatten)
    if apply.kind is not nn.Linear or (layer.start_dim, layer.end_dim) != (1, -1):
        raise ValueError(f"{layer} can be converted if it flattens all but the batch for a Linear layer behind it")
    return replace(apply, flatten=True)


def _pooled_map(layer: nn.Module, apply: AffineMap) -> AffineMap:
    assert isinstance(layer, nn.AvgPool1d | nn.AvgPool2d)
    if apply.kind is nn.Linear:
        if not apply.flatten:
            raise ValueError(f"{layer} can be converted if Flatten stands between it and a Linear layer behind it")
        size = _pool_size(layer, 1 if isinstance(layer, nn.AvgPool1d) else 2)
        return replace(apply, averaged=apply.averaged * prod(size), pooled=_multiplied(size, apply.pooled))
    size = _pool_size(layer, len(apply.stride))
    return replace(
        apply,
        stride=tuple(s * n for s, n in zip(apply.stride, size, strict=True)),
        padding=tuple((before * n, after * n) for (before, after), n in zip(apply.padding, size, strict=True)),
        dilation=(1,) * len(size),
        averaged=apply.averaged * prod(size),
        pooled=_multiplied(size, apply.pooled),
        runs=tuple((run * n, d) for (run, d), n in zip(apply.runs or ((1, d) for d in apply.dilation), size, strict=True)),
    )


def _pooled_weight(layer: nn.Module, apply: AffineMap, weight: Tensor, shape: torch.Size) -> Tensor:
    assert isinstance(layer, nn.AvgPool1d | nn.AvgPool2d)
    size = _pool_size(layer, len(shape) - 1)
    if (rest := rest_of(shape[1:], size)) is not None:
        raise UserError(f"{layer} {rest}")
    if apply.kind is nn.Linear:
        pooled = [n // s for n, s in zip(shape[1:], size, strict=True)]
        return _spread(weight.view(len(weight), -1, *pooled), size).flatten(1)
    dilated = weight
    for dimension, step in enumerate(apply.dilation, 2):
        dilated = _with_gaps(dilated, dimension, step)
    return _spread(dilated, size)


def _pool_size(layer: nn.AvgPool1d | nn.AvgPool2d, dimensions: int) -> tuple[int, ...]:
    """Inputs that are averaged, by dimension."""
    settings = layer.kernel_size, layer.stride, layer.padding
    sizes = [tuple(x) if isinstance(x, Sequence) else (x,) * dimensions for x in settings]
    if sizes[0] != sizes[1] or any(sizes[2]) or layer.ceil_mode or getattr(layer, "divisor_override", None):
        raise ValueError(f"{layer} can be converted if it pools without overlap, padding, ceil_mode and divisor_override")
    if len(sizes[0]) != dimensions:
        raise ValueError(f"{layer} pools {len(sizes[0])} dimensions of {dimensions}")
    return sizes[0]


def _multiplied(size: tuple[int, ...], pooled: tuple[int, ...]) -> tuple[int, ...]:
    """Inputs that are averaged, by dimension, where averages are averaged again."""
    return tuple(n * more for n, more in zip(size, pooled or (1,) * len(size), strict=True))


def _spread(weight: Tensor, size: Sequence[int]) -> Tensor:
    """Weights of the inputs that are averaged, from the weights of averages. Shape: (C_out, C_in, ...)."""
    for dimension, n in enumerate(size, 2):
        weight = weight.repeat_interleave(n, dimension)
    return weight / prod(size)


def _with_gaps(weight: Tensor, dimension: int, step: int) -> Tensor:
    """A dilated kernel as one that is not, with zeros between its taps."""
    taps = weight.shape[dimension]
    places = torch.arange(taps, device=weight.device) * step
    shape = list(weight.shape)
    shape[dimension] = (taps - 1) * step + 1
    return weight.new_zeros(shape).index_copy(dimension, places, weight)


register_absorbed(nn.Flatten, _flattened_map, _same_weight)
register_absorbed(nn.AvgPool1d, _pooled_map, _pooled_weight)
register_absorbed(nn.AvgPool2d, _pooled_map, _pooled_weight)
register_absorbed(nn.Dropout, _same_map, _same_weight)
register_absorbed(nn.Dropout1d, _same_map, _same_weight)
register_absorbed(nn.Dropout2d, _same_map, _same_weight)
register_absorbed(nn.Identity, _same_map, _same_weight)
