"""Segments of a run, for backpropagation through time that is truncated (Rathi et al. 2020, section 2.2).

At the end of each segment a loss is told of the potential so far; its gradients reach back to where the segment began, and are
summed over the segments. States go on from one to the next as they are.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from separator.errors import UserError


def ends_of(steps: int, segment: int | None) -> list[int]:
    """Steps at which segments of a run end, the last of them shorter if need be; one segment where no length is given.

    Raises:
        UserError: a segment has no step.
    """
    if segment is None:
        return [steps]
    if segment < 1:
        raise UserError(f"a segment is at least 1 step long, not {segment}")
    return [*range(segment, steps, segment), steps]


def blocks_of(steps: int, ends: Sequence[int], longest: int) -> Iterator[tuple[int, int, int]]:
    """Blocks that a run is computed in, none of which lies in two segments: first step, steps, and the segment it lies in."""
    for segment, (first, end) in enumerate(pairwise([0, *ends])):
        for start in range(first, end, longest):
            yield start, min(longest, end - start), segment


def readings_of(currents: Sequence[Tensor], ends: Sequence[int]) -> Tensor:
    """What the potential of a readout stands for at the end of each segment, as if the whole run were like the steps so far.

    Gradients reach back to where the segment began. Shape: one (B, ...) a step -> (S, B, ...).
    """
    total, readings = torch.zeros_like(currents[0]), []
    for first, end in pairwise([0, *ends]):
        total = total.detach() + torch.stack(list(currents[first:end])).sum(0)
        readings.append(total * (len(currents) / end) if end < len(currents) else total)
    return torch.stack(readings)
