"""Trainings and conversions killed at a chosen point come to the same as unbroken ones; `tests.kills` draws the points."""

import csv
from dataclasses import replace

import pytest
import torch

from separator.models.feedforward import FeedForwardConfig
from separator.tasks.learning.conversion import ConversionRun, TuningSettings, convert
from separator.tasks.learning.module import LearningModule
from separator.tasks.learning.run import logs
from separator.tasks.learning.settings import TrainingSettings, machine_of, optimiser_of
from separator.tasks.learning.training import train
from separator.tasks.presentation.curves import read_curve
from separator.tasks.problems.image_data import ImageSettings
from separator.tasks.problems.images import Images
from tests.images.test_idx import mnist
from tests.kills import contents, differences
from tests.pictures import leave_blank


class Killed(BaseException):
    """Nothing handles it."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training whose learning rate falls in the middle, with dropout."""
    data = ImageSettings(mnist(tmp_path_factory.mktemp("mnist"), 40), batch=16)
    problem = Images(data, FeedForwardConfig("9-d40-12-d40-10"))
    return TrainingSettings(problem, optimiser_of(problem, max_epochs=4), machine_of(problem), device="cpu", threads=1)


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(run, folder, progress=False)
    return folder


def same(folder, whole):
    assert list(differences(whole, contents(folder))) == []


@pytest.mark.parametrize("step", [0, 3, 7])  # of 12
def test_a_training_killed_in_an_epoch_comes_to_the_same(run, whole, tmp_path, monkeypatch, step):
    learn = LearningModule.training_step

    def killed(module, batch, index):
        if module.trainer.global_step == step:
            raise Killed
        return learn(module, batch, index)

    with monkeypatch.context() as patched:
        patched.setattr(LearningModule, "training_step", killed)
        with pytest.raises(Killed):
            train(run, tmp_path, progress=False)
    train(run, tmp_path, progress=False)
    same(tmp_path, contents(whole))


def test_a_training_killed_between_checkpoint_and_log_comes_to_the_same(run, whole, tmp_path, monkeypatch):
    log = logs.WholeCSVLogger.log_metrics

    def killed(logger, metrics, step=None):
        if "train_loss" in metrics and metrics["epoch"] == 1:
            raise Killed
        log(logger, metrics, step)

    with monkeypatch.context() as patched:
        patched.setattr(logs.WholeCSVLogger, "log_metrics", killed)
        with pytest.raises(Killed):
            train(run, tmp_path, progress=False)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 1
    train(run, tmp_path, progress=False)
    same(tmp_path, contents(whole))
    assert read_curve(tmp_path) == read_curve(whole)


def test_a_log_that_gets_further_columns_is_whole_at_any_moment(tmp_path, monkeypatch):
    logger = logs.WholeCSVLogger(tmp_path)
    logger.log_metrics({"train_loss": 1.0}, 0)
    logger.save()
    (path,) = tmp_path.rglob("metrics.csv")
    before = path.read_text()
    logger.log_metrics({"dev_loss": 2.0}, 1)
    with monkeypatch.context() as patched, pytest.raises(Killed):

        def killed(writer, rows):
            raise Killed

        patched.setattr(csv.DictWriter, "writerows", killed)
        logger.save()
    assert path.read_text() == before
    logger.log_metrics({"dev_loss": 2.0, "test_loss": 3.0}, 1)
    logger.save()
    assert [row["train_loss"] for row in csv.DictReader(path.open())] == ["1.0", "", ""]


def test_a_training_that_stopped_early_stays_stopped_unless_there_is_more_patience(run, tmp_path):
    def patient(epochs):
        settings = replace(run, optimiser=replace(run.optimiser, lr=1.0, stop_patience=epochs, max_epochs=30))
        train(settings, tmp_path, progress=False)
        return torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"]

    stopped = patient(1)
    before = contents(tmp_path)
    assert stopped < 29
    assert patient(1) == stopped
    same(tmp_path, before)
    assert patient(3) > stopped


def test_a_conversion_with_dropout_killed_in_a_layer_comes_to_the_same(run, whole, tmp_path, monkeypatch):
    leave_blank(monkeypatch)
    settings = TuningSettings(window=4, max_epochs=1, calibration_batches=2)
    conversion = ConversionRun(Images(run.problem.data), str(whole / "ann.safetensors"), settings, device="cpu", threads=1)

    def killed(line):
        if line.startswith("layer 1, epoch 1"):
            raise Killed

    convert(conversion, tmp_path / "whole", lambda line: None)
    with pytest.raises(Killed):
        convert(conversion, tmp_path / "parts", killed)
    convert(conversion, tmp_path / "parts", lambda line: None)
    same(tmp_path / "parts", contents(tmp_path / "whole"))
