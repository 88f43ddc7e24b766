"""The logs of a training: as CSV, which loses nothing where the training is killed, for TensorBoard, and a line an epoch."""

import csv
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only

from separator.atomic import atomic_path
from separator.tasks.learning.module import LearningModule

FIGURES = "figures"  # in a checkpoint


class WholeCSVLogger(CSVLogger):
    """Lightning's log, whole at any moment."""

    @property
    def experiment(self) -> Any:
        """Writer of the file, of the first of several processes."""
        if self._experiment is None and rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            self._experiment = _WholeFile(self.log_dir)
        return super().experiment


class _WholeFile(ExperimentWriter):
    """Lightning's writer empties its file before it writes it anew with further columns."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames)
            writer.writeheader()
            writer.writerows(rows)


class PatientTensorBoardLogger(TensorBoardLogger):
    """Lightning's log for TensorBoard, whose queue Ctrl-C does not break into.

    Its writer's thread would wait for ever for a lock that the interrupted one holds, and the training for the thread.
    """

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log figures; see `TensorBoardLogger`."""
        with _hearing_ctrl_c_later():
            super().log_metrics(metrics, step)

    def save(self) -> None:
        """Write what is logged; see `TensorBoardLogger`."""
        with _hearing_ctrl_c_later():
            super().save()


@contextmanager
def _hearing_ctrl_c_later() -> Iterator[None]:
    """Ctrl-C takes its effect behind the block."""
    if threading.current_thread() is not threading.main_thread():  # where nothing is heard of it
        yield
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard and callable(before):
            before(signal.SIGINT, None)


class LoggedEpochs(pl.Callback):
    """Keeps the figures of an epoch in its checkpoint: Lightning logs them behind it, and a kill may come between.

    Args:
        folder: of the training.
        sets: names of what is held out.
    """

    def __init__(self, folder: Path, sets: Iterable[str]) -> None:
        self.folder, self.held_out = folder, tuple(f"{name}_" for name in sets)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the figures of the epoch."""
        looked = _looks_at_held_out(trainer)
        # A checkpoint made while what is held out is looked at comes before the epoch's own figures of training.
        of_training = () if trainer.validating else ("train_", "activity")
        of_epoch = (*of_training, *(self.held_out if looked else ()))
        checkpoint[FIGURES] = {n: float(value) for n, value in trainer.callback_metrics.items() if n.startswith(of_epoch)}

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Log those that are in no log yet."""
        figures: dict[str, float] = checkpoint.get(FIGURES, {})
        if set(figures) - self._logged(checkpoint["epoch"]):
            for logger in trainer.loggers:
                logger.log_metrics({"epoch": checkpoint["epoch"], **figures}, checkpoint["global_step"] - 1)
                logger.save()

    def _logged(self, epoch: int) -> set[str]:
        found: set[str] = set()
        for path in self.folder.glob("csv/version_*/metrics.csv"):
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if row.get("epoch") == str(epoch)]
            found |= {name for row in rows for name, value in row.items() if value}
        return found


class ToldEpochs(pl.Callback):
    """Tells each epoch in a line, where no progress bar does: figures, learning rate, hours heard, and how long it took.

    Args:
        log: called with each line.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self.tell, self.began = log, 0.0  # `log` of a callback is Lightning's

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take note of the time."""
        self.began = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the epoch, in which what is held out may have been looked at."""
        assert isinstance(pl_module, LearningModule)
        if not trainer.is_global_zero:
            return
        of, hours = f" of {trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else "", pl_module.heard.hours
        told = [
            *_figures(trainer, pl_module),
            f"learning rate {trainer.optimizers[0].param_groups[0]['lr']:.3g}",
            *([f"{hours:.3f} hours heard"] if hours else []),
            f"{time.monotonic() - self.began:.1f} s",
        ]
        self.tell(f"epoch {trainer.current_epoch + 1}{of}: {', '.join(told)}")


def _figures(trainer: pl.Trainer, module: LearningModule) -> Iterator[str]:
    """Losses and scores of an epoch that has ended: of training, and of what is held out where it was looked at."""
    score = module.objective.score
    for name in ("train", *(module.sets if _looks_at_held_out(trainer) else ())):
        for column, decimals in (("loss", 4), (score.column, score.decimals)):
            value = trainer.callback_metrics.get(f"{name}_{column}")
            if value is not None:
                yield f"{name} {column} {float(value):.{decimals}f}".replace("_", " ")


def _looks_at_held_out(trainer: pl.Trainer) -> bool:
    """Whether the current epoch ends with a look at what is held out."""
    return (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
