"""The recipes for MNIST and CIFAR-10, each from one stage to the last on a handful of made-up pictures."""

import numpy as np
import pytest
import yaml

from separator.cli import sweep_images
from separator.cli.configured import ConfiguredParser, settings_from
from separator.images.cifar import BATCHES
from separator.models.files import load_network
from separator.tasks.images.sweep import ImageSweepSettings
from tests.images.test_idx import mnist
from tests.recipes.test_run import RECIPES, run

TINY = (
    "--data.batch 20 --optimiser.max_epochs 1 --conversion.max_epochs 1 --conversion.calibration_batches 1 --device cpu "
    "--threads 1"
)


def cifar10(folder, images=20):
    draw = np.random.default_rng(0)
    for name in [*BATCHES["train"], *BATCHES["test"]]:
        labels = draw.integers(0, 10, (images, 1), dtype=np.uint8)
        rows = np.concatenate([labels, draw.integers(0, 256, (images, 3072), dtype=np.uint8)], 1)
        (folder / name).write_bytes(rows.tobytes())
    return folder


def test_autoencoder_from_training_to_pictures(tmp_path):
    options = f"{TINY} --model.layers 9-784 --values [4]"
    places = ("--data", mnist(tmp_path, 40), "--exp", tmp_path / "exp")
    status, error = run("mnist-autoencoder", *places, "--seeds", 1, "--options", options)
    assert status == 0, error
    results = (tmp_path / "exp" / "results" / "RESULTS.md").read_text()
    assert all(name in results for name in ("ann", "published-window-4", "preset-window-4"))
    assert (tmp_path / "exp" / "results" / "preset-window-4.png").stat().st_size > 0
    rows = (tmp_path / "exp" / "window.csv").read_text().splitlines()[1:]
    assert {row.split(",")[1] for row in rows} == {"", *variants("mnist-autoencoder", "additions"), "preset"}


def test_mnist_from_training_to_scores(tmp_path):
    options = f"{TINY} --model.layers c2s2-6-10 --values [4]"
    places = ("--data", mnist(tmp_path, 40), "--exp", tmp_path / "exp")
    status, error = run("mnist", *places, "--seeds", 1, "--options", options)
    assert status == 0, error
    results = (tmp_path / "exp" / "results" / "RESULTS.md").read_text()
    assert "published-weight_bits-4" in results and "preset-window-4" in results
    _, card = load_network(tmp_path / "exp" / "seed-0" / "published-weight_bits-4" / "snn.safetensors")
    assert card.time_steps == 16 and max(row["weight_bits"] for row in card.conversion["hardware"]) <= 4


def test_cifar10_from_training_to_scores(tmp_path):
    options = f"{TINY} --model.layers c2s4-a2-6-10 --values [4]"
    (tmp_path / "data").mkdir()
    places = ("--data", cifar10(tmp_path / "data"), "--exp", tmp_path / "exp", "--size", "small")
    status, error = run("cifar10", *places, "--networks", "vgg11", "--seeds", 1, "--options", options)
    assert status == 0, error
    out = tmp_path / "exp" / "vgg11-small"
    assert all((out / f"{vary}.png").stat().st_size > 0 for vary in ("window", "weight_bits", "patience"))
    assert "preset-window-4" in (out / "results" / "RESULTS.md").read_text()
    assert (out / "seed-0" / "published-window-4" / "progress.png").stat().st_size > 0


def variants(recipe, name):
    return yaml.safe_load((RECIPES / recipe / "conf" / f"{name}.yaml").read_text())["variants"]


@pytest.mark.parametrize(
    ("recipe", "configs"),
    [
        *(("mnist-autoencoder", ("ann", "ptl", name)) for name in ("published", "additions", "preset")),
        *(("mnist", ("ann", "ptl", name)) for name in ("bits", "preset")),
        *(
            ("cifar10", ("ann", f"{network}-{size}", "ptl", size, name))
            for network in ("alexnet", "vgg11")
            for size in ("full", "small")
            for name in ("bits", "windows", "patience", "preset")
        ),
    ],
)
def test_configurations_say_what_can_be_done(recipe, configs):
    """What the recipes run at full size, read as the command reads it."""
    files = [str(RECIPES / recipe / "conf" / f"{name}.yaml") for name in configs]
    arguments = [word for file in files for word in ("--config", file)]
    parser = ConfiguredParser()
    sweep_images.add_arguments(parser)
    settings = settings_from(parser.parse_args([*arguments, "--data.folder", "d", "--out", "o"]), ImageSweepSettings)
    assert settings.seeds == 5 and len(list(settings.conversions())) >= 25
    assert all(settings.settings_of(work).readout == "potential" for work in settings.conversions())


@pytest.mark.parametrize("recipe", ["mnist-autoencoder", "mnist", "cifar10"])
def test_mistakes_end_it(recipe, tmp_path):
    for options, message in (
        ((), "give --data, the folder with"),
        (("--data", tmp_path / "nowhere"), "nowhere is no folder; to fetch"),
        (("--data", tmp_path, "--download", "yes"), "--download is true or false"),
        (("--data", tmp_path, "--seeds", "x"), "--seeds must be a whole number"),
        (("--data", tmp_path, "stray"), "unexpected argument stray"),
    ):
        status, error = run(recipe, *options)
        assert status == 1
        assert error.startswith("run.sh: error: ") and message in error
