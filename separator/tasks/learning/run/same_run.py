"""What makes a training that was stopped, and is gone on with, the training that was not."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason

from separator.chance import seed_at
from separator.tasks.learning.settings import TrainingSettings

FACTS = "run"  # in a checkpoint: what the training depends on


class SameRun(pl.Callback):
    """Keeps in checkpoints what the training depends on, so that it is not gone on with as another one."""

    def __init__(self, settings: TrainingSettings) -> None:
        self.facts = settings.facts

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the facts."""
        checkpoint[FACTS] = self.facts


class SeededSteps(pl.Callback):
    """Lets what is random in a step, such as dropout, depend on seed, epoch and step alone, as the data do.

    Args:
        seed: of the training.
        first_epoch: epochs that the network had learned before.
    """

    def __init__(self, seed: int, first_epoch: int = 0) -> None:
        self.seed, self.first_epoch = seed, first_epoch

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed torch; each process of several has its own numbers."""
        seed_at(self.seed, self.first_epoch + trainer.current_epoch, batch_idx, trainer.global_rank)


class LastingStop(EarlyStopping):
    """Lightning's early stopping, which stays in force where the training is gone on with, unless with more patience.

    Args:
        patience: looks at what is held out without improvement, after which training ends.
    """

    def __init__(self, patience: int) -> None:
        super().__init__("dev_loss", patience=patience)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state, with the patience of today."""
        super().load_state_dict(state_dict | {"patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the training before it begins, where it had ended."""
        if self.wait_count >= self.patience or self.stopping_reason == EarlyStoppingReason.NON_FINITE_METRIC:
            trainer.should_stop = True
