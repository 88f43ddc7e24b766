"""The logs of a training: as CSV, which loses nothing where the training is killed, and for TensorBoard."""

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


class ToldFigures(pl.Callback):
    """Tells in a line what each look at what is held out has found, for logs without a progress bar.

    Args:
        sets: names of what is held out.
        column: of the score.
        log: called with the line.
    """

    def __init__(self, sets: Iterable[str], column: str, log: Callable[[str], None]) -> None:
        self.sets, self.column, self.tell = tuple(sets), column, log
        self.since = time.monotonic()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the time from here."""
        self.since = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell epoch, loss, scores and the time since the last look."""
        now, found = time.monotonic(), trainer.callback_metrics
        figures = [f"{name} {self.column} {float(found[f'{name}_{self.column}']):.2f}" for name in self.sets]
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        if trainer.is_global_zero:
            self.tell(
                f"epoch {trainer.current_epoch + 1}: dev loss {float(found['dev_loss']):.4f}, {', '.join(figures)}, "
                f"rate {rate:.3g}, {now - self.since:.0f} s"
            )
        self.since = now


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
        looked = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
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
