"""The exponential average of the weights of a training, which is what dev figures and model files are of."""

from collections.abc import Callable, Iterable

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import update_bn


def warming_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """An exponential average that forgets faster at first: after n updates it keeps min(decay, (1 + n) / (10 + n))."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        keep = min(decay, (1 + int(updates)) / (10 + int(updates)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - keep)
        else:
            for average, now in zip(averaged, current, strict=True):
                average.copy_(now)

    return update


class AveragedWeights(WeightAveraging):
    """Lightning's weight averaging, with statistics of batch norm that are those of the average.

    The average of running statistics is not what an average of weights makes of its input, so that they are measured anew
    each time before the average is looked at.

    Args:
        decay: share of the average that an update keeps, once there have been many.
        network: name of the network in the Lightning module, whose batch norm is measured.
        inputs: fresh iterable of its inputs, the same every time; None to leave statistics as they are.
    """

    def __init__(self, decay: float, network: str, inputs: Callable[[], Iterable[Tensor]] | None) -> None:
        super().__init__(multi_avg_fn=warming_average(decay))
        self.network, self.inputs = network, inputs

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the average in the place of the weights, and measure its statistics."""
        super().on_validation_epoch_start(trainer, pl_module)
        if self._average_model is not None and self.inputs is not None:
            update_bn(self.inputs(), pl_module.get_submodule(self.network), pl_module.device)
