"""Incoming maps of a population of neurons: its synapses, of which there may be several sets on one input."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from separator.snn.synapses.affine import AffineMap


class IncomingMap(NamedTuple):
    """Synapses: an affine map and its weights."""

    apply: AffineMap
    weight: Tensor  # as the affine layer's; of the identity (C, 1)

    @property
    def is_identity(self) -> bool:
        """True if each neuron sees the one input at its own place."""
        return self.apply.kind is nn.Identity

    def times(self, factor: Tensor | float) -> "IncomingMap":
        """The map with weights times a factor that broadcasts against them."""
        return IncomingMap(self.apply, self.weight * factor)


def merged_weight(main: IncomingMap, *others: IncomingMap) -> Tensor | None:
    """Weights of one map that does what several do of one input; None where no tap of the first sees what the others see.

    Shape: as the weight of the first; int32 if there are others.
    """
    weight = main.weight
    for other in others:
        if (tap := _tap_at_zero(main.apply, tuple(weight.shape[2:]), other)) is None:
            return None
        weight = weight.to(torch.int32, copy=True)
        seen: tuple[Any, ...] = (slice(None), slice(None), *tap)
        weight[seen] += other.weight.to(torch.int32).view(-1).diag() if other.is_identity else other.weight.flatten(1)
    return weight


def stacked_weight(main: IncomingMap, other: IncomingMap) -> Tensor | None:
    """Weights of one map that does what two do of an input each, the channels of the second behind those of the first.

    None where no tap of the first sees what the second sees, or inputs are flattened. Shape: (C_out, C_in + C_in', ...), int32.
    """
    weight = main.weight.to(torch.int32)
    tap = None if main.apply.flatten else _tap_at_zero(main.apply, tuple(weight.shape[2:]), other)
    if tap is None:
        return None
    rows = other.weight.to(torch.int32).view(-1).diag() if other.is_identity else other.weight.to(torch.int32).flatten(1)
    beside = weight.new_zeros(len(weight), rows.shape[1], *weight.shape[2:])
    seen: tuple[Any, ...] = (slice(None), slice(None), *tap)
    beside[seen] = rows
    return torch.cat([weight, beside], 1)


def _tap_at_zero(apply: AffineMap, taps: tuple[int, ...], other: IncomingMap) -> tuple[int, ...] | None:
    """The tap of a map that sees what the one tap of another sees; None if there is none."""
    here = other.apply
    if apply.groups != 1 or here.groups != 1 or apply.averaged != here.averaged or apply.flatten != here.flatten:
        return None
    if not taps:
        return ()
    strides = here.stride or (1,) * len(taps)
    padding = here.padding or ((0, 0),) * len(taps)
    if strides != apply.stride or any(size != 1 for size in other.weight.shape[2:]):
        return None
    places = [(own[0] - its[0], d) for own, its, d in zip(apply.padding, padding, apply.dilation, strict=True)]
    if any(at % d or not 0 <= at // d < size for (at, d), size in zip(places, taps, strict=True)):
        return None
    return tuple(at // d for at, d in places)
