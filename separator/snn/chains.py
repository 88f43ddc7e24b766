"""Chains of layers that the identity joins: with one threshold a channel for all of them, a spike passes one for one.

The first layer's threshold is rounded to its neurons' steps, and the next one's threshold is what a spike of the first stands
for, rounded to the next one's steps, as is the weight of the identity: the two are the same integer.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from separator.snn.stage import Stage


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
