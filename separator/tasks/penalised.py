"""Training with a penalty on how active a network is."""

from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from separator.snn.learning.penalty import ActivityPenalty
from separator.snn.stack.stack import Stack


class PenalisedTraining(pl.LightningModule):
    """Training steps whose loss may have a penalty on the activity of a stack, which goes to the log.

    Args:
        stack: of the network that learns.
        weight: of the activity in the loss; 0 for no penalty. See `ActivityPenalty`.
    """

    def __init__(self, stack: Stack, weight: float) -> None:
        super().__init__()
        self.activity_weight = weight
        self.activity = ActivityPenalty(stack) if weight else None

    def penalised(self, loss: Tensor, name: str | None = None, **options: Any) -> Tensor:
        """The loss of a batch that the network has just seen, with the penalty.

        Args:
            loss: without it.
            name: of the activity in the log; None for `activity` in training and `dev_activity` else.
            **options: as those of `log`.
        """
        if self.activity is None:
            return loss
        activity = self.activity.pop()
        self.log(name or ("activity" if self.training else "dev_activity"), activity, on_epoch=True, on_step=False, **options)
        return loss + self.activity_weight * activity
