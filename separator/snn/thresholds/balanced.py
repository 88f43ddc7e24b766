"""Threshold balancing: the largest current that a layer receives (Rathi et al. 2020, Algorithm 1; Sengupta et al. 2019)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from separator.snn.thresholds.bounds import SILENT, ThresholdError

KEPT_BITS = 12  # of the 23 of a mantissa, in which currents below the largest one are told apart
_DROPPED = 23 - KEPT_BITS


def largest_current(currents: Iterable[Tensor], percentile: float) -> Tensor:
    """A percentile of all currents, of every neuron, step and batch. Shape: any each -> (1,), float32.

    The largest is exact; others are counted, in bins of 1/4096 of their size, of which this is the upper end. Where so few are
    above zero that the percentile is not, it is the largest.

    Raises:
        ThresholdError: none is above zero.
    """
    if percentile == 100:
        largest = torch.stack([block.max() for block in currents]).max().float().view(1)
    else:
        largest = _counted(currents, percentile)
    if not float(largest) > 0:
        raise ThresholdError(SILENT)
    return largest


def _counted(currents: Iterable[Tensor], percentile: float) -> Tensor:
    """By counts of numbers with the same exponent and first bits of mantissa, which sort as whole numbers do."""
    bins, total = torch.zeros(2 ** (8 + KEPT_BITS), dtype=torch.int64), 0
    for block in currents:
        positive = block[block > 0].float().cpu()
        bins += torch.bincount(positive.view(torch.int32) >> _DROPPED, minlength=len(bins))
        total += block.numel()
    above = bins.flip(0).cumsum(0).flip(0)  # in a bin and in all above it
    allowed = total - max(1, -int(-percentile * total // 100))
    last = int((above > allowed).sum()) - 1  # the lowest bin above which there are no more than these
    if last < 0:  # a layer sparser than the percentile: the largest current of all
        last = int((above > 0).sum()) - 1
    edge = torch.tensor([((last + 1) << _DROPPED) - 1], dtype=torch.int32)
    return edge.view(torch.float32) if last >= 0 else torch.zeros(1)
