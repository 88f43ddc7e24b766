"""What all trainings by Lightning share: checkpoints in a folder, going on from them, ending on Ctrl-C."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from separator.errors import UserError


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
    }


def fit(trainer: pl.Trainer, task: pl.LightningModule, data: pl.LightningDataModule, folder: Path) -> None:
    """Train, or go on from the folder's `last.ckpt`."""
    last = folder / "last.ckpt"
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
