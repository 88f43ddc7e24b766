"""Training of analog networks for images, by Lightning (Wu et al. 2021, section 5.1)."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor

from separator.atomic import make_folder
from separator.images.labelled import ImageSet
from separator.models.card import ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import save_model
from separator.tasks.devices import resolve_device
from separator.tasks.fitting import checkpoints, fit, load_checkpoint, trainer_options
from separator.tasks.images.batches import Batch, Goal, ImageBatches, ImageSettings, image_loss, score
from separator.tasks.images.fit import check_fit


@dataclass(frozen=True)
class ImageOptimiserSettings:
    """How to train; the defaults are the paper's."""

    lr: float = 1e-3  # of Adam, divided by 10 at half time
    max_epochs: int = 100


@dataclass(frozen=True)
class ImageTrainingSettings:
    """Everything a training run depends on."""

    data: ImageSettings
    model: FeedForwardConfig
    goal: Goal = "classify"
    optimiser: ImageOptimiserSettings = field(default_factory=ImageOptimiserSettings)
    name: str = "ann"  # of the model
    seed: int = 0
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all


class ImageTraining(pl.LightningModule):
    """Training steps of a `FeedForward`."""

    def __init__(self, network: FeedForward, goal: Goal, optimiser: ImageOptimiserSettings) -> None:
        super().__init__()
        self.network, self.settings, self.loss = network, optimiser, image_loss(goal)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        loss = self.loss(self.network, batch)
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss on images held out."""
        self.log("dev_loss", self.loss(self.network, batch), prog_bar=True, batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        """Adam, its learning rate divided by 10 at half time."""
        optimiser = torch.optim.Adam(self.network.parameters(), self.settings.lr)
        half = max(1, self.settings.max_epochs // 2)
        return [optimiser], [torch.optim.lr_scheduler.MultiStepLR(optimiser, [half])]


class ImageData(pl.LightningDataModule):
    """Loaders of a set of images; each epoch has an order of its own."""

    def __init__(self, images: ImageSet, settings: ImageSettings, seed: int, device: str) -> None:
        super().__init__()
        self.seed = seed
        self.train_batches = train_batches(images, settings, seed, device)
        self.dev_batches = ImageBatches(images.dev, settings.dev_batch, device=device)

    def train_dataloader(self) -> ImageBatches:
        """Batches of the trainer's current epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        return self.train_batches.with_seed(epoch_seed(self.seed, epoch))

    def val_dataloader(self) -> ImageBatches:
        """Images held out."""
        return self.dev_batches


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch of a run; no two of the first 10,000 epochs of different runs have the same."""
    return 10_000 * seed + epoch


def train_batches(images: ImageSet, settings: ImageSettings, seed: int, device: str | torch.device) -> ImageBatches:
    """Batches to train on, in an order and varied as the seed has it."""
    return ImageBatches(images.train, settings.batch, seed, settings.flip, settings.shift, device)


def train_images(settings: ImageTrainingSettings, folder: Path, progress: bool = True) -> Path:
    """Train, or go on with a training interrupted in `folder`; returns the model file of the lowest dev loss.

    `folder` receives `ann.safetensors`, `last.ckpt` and `best.ckpt` (Lightning checkpoints), and a CSV log.

    Raises:
        UserError: the images cannot be used or do not fit the network, or training diverged.
    """
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = resolve_device(settings.device)
    images = settings.data.read()
    network = FeedForward(settings.model)
    check_fit(network, settings.goal, images)
    make_folder(folder)
    best, last = checkpoints(folder)
    trainer = pl.Trainer(
        accelerator="gpu" if device.startswith("cuda") else "cpu",
        devices=1,
        max_epochs=settings.optimiser.max_epochs,
        callbacks=[best, last],
        logger=CSVLogger(folder, name="csv"),
        **trainer_options(folder, progress),
    )
    task = ImageTraining(network, settings.goal, settings.optimiser)
    fit(trainer, task, ImageData(images, settings.data, settings.seed, device), folder)
    state = load_checkpoint(Path(best.best_model_path))
    task.load_state_dict(state["state_dict"])
    network.cpu().requires_grad_(False)
    test = score(network, settings.goal, images.test, settings.data.dev_batch)
    scores = {"goal": settings.goal, "epochs": state["epoch"] + 1, "test": test}
    card = ModelCard(
        settings.name,
        settings.model.to_dict(),
        architecture="feedforward",
        training_data=images.train.origin,
        scores=scores | {"settings": _plain(asdict(settings))},
    )
    save_model(folder / "ann.safetensors", network, card)
    return folder / "ann.safetensors"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Paths as text."""
    return {k: _plain(v) if isinstance(v, dict) else str(v) if isinstance(v, Path) else v for k, v in values.items()}
