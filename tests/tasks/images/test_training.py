import csv

import pytest
import torch

from separator.errors import UserError
from separator.models.feedforward import FeedForwardConfig
from separator.models.files import load_model, load_network
from separator.snn.progressive import ConversionSettings
from separator.tasks.images.batches import ImageSettings, score
from separator.tasks.images.conversion import ImageConversionRun, convert_images
from separator.tasks.images.training import ImageOptimiserSettings, ImageTrainingSettings, train_images
from tests.images.test_idx import mnist


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return mnist(tmp_path_factory.mktemp("mnist"), 60)


def settings(folder, goal="classify", epochs=2, **model):
    layers = "c3s2-a7-d10-10" if goal == "classify" else "9-784"
    output = "none" if goal == "classify" else "sigmoid"
    config = FeedForwardConfig(**({"layers": layers, "output": output} | model))
    return ImageTrainingSettings(
        ImageSettings(folder, batch=16), config, goal, ImageOptimiserSettings(max_epochs=epochs), device="cpu"
    )


@pytest.mark.parametrize("goal", ["classify", "reconstruct"])
def test_a_network_is_trained_converted_and_read_again(folder, tmp_path, goal):
    run = settings(folder, goal)
    ann, card = load_network(train_images(run, tmp_path / "ann", progress=False))
    test = run.data.read().test
    assert card.scores["test"] == pytest.approx(score(ann, goal, test))
    conversion = ConversionSettings(window=8, start=0.5, max_epochs=1, calibration_batches=2)
    path = convert_images(
        ImageConversionRun(str(tmp_path / "ann" / "ann.safetensors"), run.data, conversion, device="cpu"),
        tmp_path / "snn",
        log=lambda line: None,
    )
    snn, card = load_network(path)
    assert card.kind == "snn" and card.time_steps == 8
    assert snn.stack.converted == len(snn.stack.stages) == 2
    assert snn.stack.readout == "potential"
    assert card.scores["test"] == pytest.approx(score(snn, goal, test))
    assert (tmp_path / "snn" / "report.png").stat().st_size > 0
    _, card = load_network(path, time_steps=32)
    assert card.time_steps == 32
    with pytest.raises(UserError, match="for images"):
        load_model(path)


def test_training_is_gone_on_with_and_the_same_seed_gives_the_same_network(folder, tmp_path):
    whole, _ = load_network(train_images(settings(folder, epochs=4), tmp_path / "whole", progress=False))
    again, _ = load_network(train_images(settings(folder, epochs=4), tmp_path / "again", progress=False))
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
    train_images(settings(folder, epochs=2), tmp_path / "parts", progress=False)
    epochs = {name: torch.load(tmp_path / "parts" / f"{name}.ckpt", weights_only=True)["epoch"] for name in ("best", "last")}
    assert epochs == {"best": 0, "last": 1}  # the last epoch is kept, though it was not the best
    train_images(settings(folder, epochs=4), tmp_path / "parts", progress=False)
    rows = list(csv.DictReader((tmp_path / "parts" / "csv" / "version_1" / "metrics.csv").open()))
    assert {row["epoch"] for row in rows} == {"2", "3"}


def test_networks_that_do_not_fit_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"pictures of \(3, 32, 32\), but those of"):
        train_images(settings(folder, channels=3, height=32, width=32, layers="5-10"), tmp_path)
    with pytest.raises(UserError, match="to classify, the network needs 10 outputs, not 7"):
        train_images(settings(folder, layers="5-7"), tmp_path)
    with pytest.raises(UserError, match="no network for images"):
        convert_images(ImageConversionRun("small-ann", ImageSettings(folder), device="cpu"), tmp_path)
