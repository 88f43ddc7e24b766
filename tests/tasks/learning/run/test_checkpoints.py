import multiprocessing

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from separator.tasks.learning.run.checkpoints import fit, trainer_options


class Failing(pl.LightningModule):
    """As on a GPU that fails, after which nothing can be moved away from it."""

    def training_step(self, batch, number):
        raise RuntimeError("the device failed")

    def configure_optimizers(self):
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])

    def cpu(self):
        raise RuntimeError("the device failed again")


class Numbers(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(torch.arange(100.0), num_workers=1)


def test_workers_end_with_a_training_whose_device_failed(tmp_path):
    """Else the process would wait for them as it ends."""
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, logger=False, **trainer_options(tmp_path, progress=False))
    with pytest.raises(RuntimeError, match="the device failed"):
        fit(trainer, Failing(), Numbers(), tmp_path)
    assert not multiprocessing.active_children()
