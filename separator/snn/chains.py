"""Chains of layers that the identity joins: with one threshold a channel for all of them, a spike passes one for one."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from separator.snn.grid import power_above
from separator.snn.stage import Stage

THRESHOLD_BITS = 7  # of a shared threshold: whatever power of two the neurons of a layer count in, it is a whole number of them


def is_joined(stage: nn.Module) -> bool:
    """Whether an analog stage adds its input to its sums."""
    return isinstance(stage, Stage) and isinstance(stage.shortcut, nn.Identity)


def chain_from(stages: Sequence[nn.Module], head: int) -> list[Stage]:
    """Analog stages that have thresholds in common with stage `head`, that one included; a readout has none."""
    chain: list[Stage] = []
    for stage in stages[head:-1]:
        if chain and not is_joined(stage):
            break
        assert isinstance(stage, Stage)
        chain.append(stage)
    return chain


def activations_of(chain: Sequence[Stage], x: Tensor) -> Iterator[Tensor]:
    """Activations of the stages, one after the other. Shape: x (B, ...) -> (B, ...) each."""
    for stage in chain:
        x = stage(x)
        yield x


def in_few_bits(threshold: Tensor) -> Tensor:
    """Nearest numbers of THRESHOLD_BITS bits, with the gradient of the identity. Shape: any."""
    step = (power_above(threshold.detach()) * 2.0**-THRESHOLD_BITS).to(threshold.dtype)
    return threshold + (torch.round(threshold / step) * step - threshold).detach()
