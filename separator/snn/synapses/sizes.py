"""Sizes of input that an affine map takes: kernels rely on them, and look at none of them themselves."""

from collections.abc import Sequence
from math import prod

from torch import nn

from separator.errors import UserError
from separator.snn.synapses.affine import AffineMap


def check_input(apply: AffineMap, shape: Sequence[int], taken: Sequence[int] | None = None) -> None:
    """Refuse input of a shape that a map does not take.

    Args:
        apply: the map.
        shape: of the input, (B, ...).
        taken: shape of the map's weight; None if it is not known yet.

    Raises:
        UserError: the input has more or fewer dimensions, channels or features, is smaller than the kernel, or is not divided
            by average pooling before the map.
    """
    problem = _problem_of(apply, shape, taken)
    if problem is not None:
        raise UserError(f"{apply.kind.__name__} sees input of {times(shape)}, and {problem}")


def times(sizes: Sequence[int]) -> str:
    """Sizes for messages."""
    return "x".join(map(str, sizes))


def rest_of(positions: Sequence[int], pooled: Sequence[int]) -> str | None:
    """What average pooling of so many inputs by dimension says of positions that it does not divide; None if it does."""
    if all(n % size == 0 for n, size in zip(positions, pooled, strict=False)):
        return None
    return f"is converted where it divides its input without a rest, not {times(positions)} by {times(pooled)}"


def _problem_of(apply: AffineMap, shape: Sequence[int], taken: Sequence[int] | None) -> str | None:
    """What keeps the input from being taken; None if nothing does."""
    wanted = 2 + len(apply.pooled or apply.stride)
    more = apply.kind is nn.Identity or (apply.flatten and not apply.pooled)
    if len(shape) < wanted or (len(shape) > wanted and not more):
        return f"is converted on {wanted} dimensions{' or more' if more else ''}, batch first"
    if (rest := rest_of(shape[2:], apply.pooled)) is not None:
        return f"average pooling before it {rest}"
    if taken is None:
        return None
    found = prod(shape[1:]) if apply.flatten else shape[1]
    inputs = taken[0] if apply.kind is nn.Identity else taken[1] * apply.groups
    if found != inputs:
        return f"takes {inputs} {'features' if apply.kind is nn.Linear else 'channels'}, not {found}"
    if apply.stride and min(apply.outputs(shape[2:], taken[2:])) < 1:
        return f"its kernel of {times(taken[2:])} does not fit into that"
    return None
