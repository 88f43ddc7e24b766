"""Learning rates over the steps of a training, as shares of the full one, or as schedules of torch."""

import math
from collections.abc import Sequence
from typing import Any

from torch.optim.lr_scheduler import OneCycleLR


def trapezoid(step: int, total: int, warmup: int, decay: int) -> float:
    """Rise over `warmup` steps, stay, and fall linearly to zero over the last `decay` of `total` steps."""
    return max(0.0, min(1.0, (step + 1) / max(1, warmup), (total - step) / max(1, decay)))


def anytime(step: int, warmup: int, finish: tuple[int, int] | None = None) -> float:
    """Rise over `warmup` steps and stay for as long as one likes; then fall linearly to zero.

    Args:
        step: steps taken.
        warmup: steps.
        finish: step from which the rate falls, and step at which it is zero; None while there is no end in sight.
    """
    rising = min(1.0, (step + 1) / max(1, warmup))
    if finish is None:
        return rising
    begin, end = finish
    return trapezoid(step, end, warmup, end - begin)


def stairs(epoch: int, epochs: int, drop: float, drop_at: Sequence[float], drop_every: int | None) -> float:
    """Share of the learning rate in an epoch, where it falls in steps.

    Args:
        epoch: that begins, from 0.
        epochs: of the training.
        drop: what each step leaves of the rate.
        drop_at: shares of all epochs, rounded down, but at least to one epoch, after which it falls.
        drop_every: epochs after each of which it falls, in place of that.
    """
    if drop_every is not None:
        return drop ** (epoch // drop_every)
    return drop ** sum(epoch >= max(1, math.floor(share * epochs + 1e-9)) for share in drop_at)


class Cycle(OneCycleLR):
    """Torch's one cycle, whose length is that of the training that goes on, not that of the checkpoint it goes on from."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the step, and everything else that the length does not tell."""
        of_the_length = ("total_steps", "_schedule_phases")
        super().load_state_dict({name: value for name, value in state_dict.items() if name not in of_the_length})
