"""What all trainings by Lightning share: checkpoints in a folder, going on from them, ending on Ctrl-C."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from separator.atomic import atomic_path
from separator.errors import UserError


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are on the disk whole before they replace the one before, which a kill or a full disk leaves."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            UserError: it cannot be written, as the disk is full.
        """
        with atomic_path(path, durable=True) as temporary:
            torch.save(checkpoint, temporary)


def checkpoints(folder: Path) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    """Keep `best.ckpt`, of the lowest dev loss, and `last.ckpt`, of the last epoch, in the folder."""
    best = ModelCheckpoint(folder, "best", monitor="dev_loss", enable_version_counter=False)
    # Not `save_last`: that is of the last epoch that was the best so far, and those after it would be trained again.
    last = ModelCheckpoint(folder, "last", enable_version_counter=False, save_on_train_epoch_end=True)
    return best, last


def trainer_options(folder: Path, progress: bool) -> dict[str, Any]:
    """Options of a trainer whose loaders make batches of their own for each epoch."""
    return {
        "reload_dataloaders_every_n_epochs": 1,
        "enable_progress_bar": progress,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
        "plugins": [WholeCheckpoints()],
    }


def fit(trainer: pl.Trainer, task: pl.LightningModule, data: pl.LightningDataModule, folder: Path) -> None:
    """Train, or go on from the folder's `last.ckpt`; what a kill left half written beside it is removed."""
    last = folder / "last.ckpt"
    for half in folder.glob(".*.ckpt"):
        half.unlink(missing_ok=True)
    try:
        trainer.fit(task, data, ckpt_path=last if last.exists() else None)
    except SystemExit:
        if trainer.interrupted:  # Lightning ends the process on Ctrl-C; the caller shall see what it was
            raise KeyboardInterrupt from None
        raise


def load_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint holds.

    Raises:
        UserError: there is no such checkpoint, since the dev loss was never finite.
    """
    if not checkpoint.is_file():
        raise UserError("training left no checkpoint: the dev loss was never a number; try a lower --optimiser.lr")
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return state
