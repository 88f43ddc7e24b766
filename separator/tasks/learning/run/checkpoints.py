"""Parts that all trainings by Lightning share: checkpoints in a folder, going on from them, ending on Ctrl-C."""

from io import BytesIO
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from separator.atomic import atomic_path
from separator.errors import DivergedError, UserError
from separator.tasks.problems.protocol import Score


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are on the disk whole before they replace the one before, which a kill or a full disk leaves."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            UserError: it cannot be written, as the disk is full.
        """
        whole = BytesIO()  # where torch writes to a file itself, a full disk is no OSError
        torch.save(checkpoint, whole)
        with atomic_path(path, durable=True) as temporary:
            temporary.write_bytes(whole.getbuffer())


class MovableCheckpoint(ModelCheckpoint):
    """A checkpoint whose folder may be renamed before the training is gone on with: the best epoch is remembered."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take former paths as those of today's folder."""
        assert self.dirpath is not None

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | paths | {"best_k_models": best, "dirpath": self.dirpath})


def checkpoints(folder: Path, score: Score | None = None) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    """Keep `best.ckpt`, of the lowest dev loss or the best dev score, and `last.ckpt`, of the last epoch, in the folder."""
    monitor, mode = (f"dev_{score.column}", "max" if score.higher else "min") if score else ("dev_loss", "min")
    best = MovableCheckpoint(folder, "best", monitor=monitor, mode=mode, enable_version_counter=False)
    # Not `save_last`: that is of the last epoch that was the best so far, and those after it would be trained again.
    last = MovableCheckpoint(folder, "last", enable_version_counter=False, save_on_train_epoch_end=True)
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
    """Train, or go on from the folder's `last.ckpt`; what a kill left half written is removed."""
    last = folder / "last.ckpt"
    for half in chain(folder.glob(".*.ckpt"), folder.glob("csv/*/.*.csv")):
        half.unlink(missing_ok=True)
    try:
        trainer.fit(task, data, ckpt_path=last if last.exists() else None)
    except SystemExit:
        if trainer.interrupted:  # Lightning ends the process on Ctrl-C; the caller shall see what it was
            raise KeyboardInterrupt from None
        raise
    finally:
        # Lightning does it, unless its own teardown fails as a GPU did: loaders' workers would keep the process for ever.
        trainer.fit_loop.teardown()


def load_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """Contents of a checkpoint.

    Raises:
        DivergedError: there is no such checkpoint, since the dev loss was never finite.
        UserError: it is damaged.
    """
    if not checkpoint.is_file():
        raise DivergedError(
            "training left no checkpoint: there was no epoch, or the dev loss was never a number; give --optimiser.max_epochs, "
            "or a lower --optimiser.lr"
        )
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError, OSError) as error:
        raise UserError(
            f"{checkpoint} is damaged; remove it, and the same command trains anew, or keep a copy of {checkpoint.parent} first"
        ) from error
    return state
