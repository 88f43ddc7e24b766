"""What separation networks learn from: mixtures made on the fly or read from disk, in batches."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from separator.corpora.datasets import MixturesFromDisk, MixturesOnTheFly, SpeechBank, load_bank
from separator.corpora.mixtures import read_mixtures
from separator.models.tasnet import TasNetConfig

DEV_SEED = 1_000_003  # mixtures made on the fly for the dev loss; the same in every epoch


@dataclass(frozen=True)
class DataSettings:
    """What to train on."""

    train: Path  # Kaldi data folder (mixed on the fly) or folder of mixtures
    dev: Path  # likewise
    segment: float = 4.0  # s
    epoch_mixtures: int = 20_000  # mixtures in an epoch when mixed on the fly
    dev_mixtures: int = 3_000  # at most so many for the dev loss
    batch: int = 8
    workers: int = 0
    cache: Path | None = None  # folder for decoded speech


class MixtureData(pl.LightningDataModule):
    """Loaders over mixtures; on the fly, each epoch has its own."""

    def __init__(self, settings: DataSettings, model: TasNetConfig, seed: int) -> None:
        super().__init__()
        self.settings, self.model, self.seed = settings, model, seed
        self.samples = round(settings.segment * model.sample_rate)
        self.banks: dict[Path, SpeechBank] = {}

    def mixtures(self, folder: Path, count: int, seed: int, epoch: int) -> Dataset[Tensor]:
        """Mixtures on the fly where `folder` is a Kaldi data folder, else the ones on disk there."""
        if not (folder / "wav.scp").exists():
            sources = [mixture.sources for mixture in read_mixtures(folder)]
            return MixturesFromDisk(sources, self.samples, self.model.sample_rate)
        if folder not in self.banks:
            self.banks[folder] = load_bank(folder, self.model.sample_rate, self.settings.cache)
        return MixturesOnTheFly(self.banks[folder], count, self.samples, self.model.n_src, seed, epoch)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Mixtures of the trainer's current epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        dataset = self.mixtures(self.settings.train, self.settings.epoch_mixtures, self.seed, epoch)
        generator = torch.Generator().manual_seed(self.seed + epoch)
        return self._loader(dataset, shuffle=isinstance(dataset, MixturesFromDisk), drop_last=True, generator=generator)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """The same dev mixtures every time."""
        return self.fixed_loader(self.settings.dev, self.settings.dev_mixtures, DEV_SEED)

    def fixed_loader(self, folder: Path, count: int, seed: int, epoch: int = 0) -> DataLoader[Tensor]:
        """At most `count` mixtures of an epoch, the same in the same order every time."""
        dataset = self.mixtures(folder, count, seed, epoch)
        size = len(dataset)  # type: ignore[arg-type]
        if size > count:
            dataset = Subset(dataset, [i * size // count for i in range(count)])
        return self._loader(dataset)

    def _loader(self, dataset: Dataset[Tensor], **options: Any) -> DataLoader[Tensor]:
        return DataLoader(dataset, batch_size=self.settings.batch, num_workers=self.settings.workers, **options)
