"""Spikes that frozen layers hand on, kept for the inputs that they are of."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from separator.snn.spikes.trains import Spikes


class Prefix(NamedTuple):
    """Spikes that the spiking layers at the front hand on to others, of one input of the stack."""

    of: int  # fingerprint of the input
    spikes: Mapping[int, Spikes]  # by position of the layer


def fingerprint(x: Tensor) -> int:
    """A number that tells inputs apart, within one process."""
    return hash((tuple(x.shape), x.detach().cpu().contiguous().numpy().tobytes()))
