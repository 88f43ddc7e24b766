"""The recipe of hybrid conversion, run on a handful of made-up pictures, or what it would run."""

import csv
import json

import numpy as np
import pytest
import torch

from separator.cli.main import main
from separator.models.files import load_network
from separator.snn.layers.twins import analog_numbers
from tests.images.test_cifar import write_batches
from tests.images.test_folder import tree
from tests.recipes.running import run

MACHINE = "--device cpu --threads 1"
NARROW = "c4-a2-c8-d20-c8-a2-32-d50-32-d50-10"  # VGG5, a 16th as wide; the rest of its configuration:
REST = "--network.height 32 --network.width 32 --network.norm false --network.bias false --network.mean .5 --network.std .5"


def test_it_runs_from_the_pictures_to_the_scores(tmp_path):
    write_batches(tmp_path / "cifar10")
    fewer = ("--steps", 40, "--balance-steps", 8, "--images", 2, "--scale", 0.5, "--few-steps", 6, "--epochs", 1)
    options = f"--data.batch 5 --optimiser.max_epochs 1 --network.layers {NARROW} --network.channels 3 {MACHINE}"
    few = "--conversion.calibration_batches 1 --data.dev_batch 2 --data.test_limit 2"
    status, error = run(
        "hybrid-stdb",
        *("--data", tmp_path, "--exp", tmp_path / "exp", "--stop-stage", 5, "--derivatives", "linear", *fewer),
        *("--options", options, "--spiking-options", MACHINE, "--convert-options", few),
        *("--tune-options", f"{REST} --data.batch 5 --learning.segment 4 --learning.stdb.derivative linear"),
    )
    assert status == 0, error
    out = tmp_path / "exp" / "vgg5-w16"
    analog, _ = load_network(out / "ann/ann.safetensors")
    assert (analog.config.mean, analog.config.std, analog.config.norm, analog.config.bias) == (0.5, 0.5, False, False)
    thresholds = []
    for name, window, scale in (("converted", 40, 1.0), ("reduced-6", 6, 0.5)):
        network, card = load_network(out / name / "snn.safetensors")
        told = {
            key: card.conversion[key] for key in ("window", "threshold_scale", "balance_steps", "threshold", "coding", "neuron")
        }
        assert told == {
            "window": window,
            "threshold_scale": scale,
            "balance_steps": 8,
            "threshold": "balanced",
            "coding": "poisson",
            "neuron": "leaky",
        }
        scales = [float(layer.scale[0]) * window for layer in network.stack.spiking_layers()[:-1]]
        thresholds.append(np.array(scales))
    assert thresholds[1] == pytest.approx(thresholds[0] * 0.5 ** np.arange(1, 6), rel=1e-3)
    with (out / "course/course.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["network"], row["items"], row["steps"]) for row in rows] == [
        *[("converted", "2", "40"), ("reduced-6", "2", "6"), ("stdb-6", "2", "6")]
    ]
    reduced, _ = load_network(out / "reduced-6/snn.safetensors")
    tuned, _ = load_network(out / "stdb-6/snn.safetensors")
    dynamics = tuned.stack.dynamics
    assert (dynamics.neuron, dynamics.neuron_options, dynamics.window) == ("leaky", {"leak": 0.99}, 6)
    weights = [analog_numbers(network.stack.spiking_layers()[0])[0] for network in (reduced, tuned)]
    assert weights[0].shape == weights[1].shape and not torch.equal(*weights)
    told = json.loads((out / "results-6/results.json").read_text())["models"]
    assert [model["model"] for model in told] == ["ann", "reduced-6", "stdb-6"] and all(model["layers"] for model in told)
    derivatives = out / "derivatives-6"
    assert "|  | linear | 1 |" in (derivatives / "curves.md").read_text()  # 1 epoch
    pictures = [derivatives / "derivatives.png", derivatives / "curves.png", out / "results-6" / "spikes.png"]
    assert all(picture.stat().st_size for picture in pictures)


def test_mistakes_end_it(tmp_path):
    (tmp_path / "cifar10").mkdir()
    for options, message in (
        ((), "give --data, the folder with a folder for each of cifar10"),
        (("--data", tmp_path, "--networks", "vgg11"), "has no folder cifar100; to fetch it, give --download true"),
        (("--data", tmp_path, "--networks", "vgg9 resnet34"), "has no folder imagenet, which nothing fetches"),
        (("--data", tmp_path, "--networks", "vgg7"), "--networks are vgg5-w16, vgg5, vgg9, vgg11, vgg16, vgg16-imagenet"),
        (("--data", tmp_path, "--steps", "x"), "--steps must be a whole number"),
        (("--data", tmp_path, "--images", "x"), "--images must be a whole number"),
        (("--data", tmp_path, "--seeds", "2"), "unknown option --seeds"),
    ):
        status, error = run("hybrid-stdb", *options)
        assert status == 1
        assert error.startswith("run.sh: error: ") and message in error


def test_a_residual_network_sees_pictures_of_any_size(tmp_path):
    """As resnet34 does, small: from a tree of pictures by class to the spiking network."""
    data = ["--data.kind", "folder", "--data.folder", str(tree(tmp_path / "tree")), "--data.pictures.workers", "0"]
    data += ["--data.pictures.resize", "20", "--data.pictures.crop", "16", "--data.batch", "9"]
    sizes = {"layers": "c4-d20-c4-a2-b4d20-b6s2d20-a4-3", "channels": 3, "height": 16, "width": 16}
    sizes |= {"norm": "false", "bias": "false", "mean": 0.5, "std": 0.5}
    network = [f"--network.{name}={value}" for name, value in sizes.items()]
    machine = ["--device", "cpu", "--threads", "1"]
    training = ["--optimiser.max_epochs", "1", "--optimiser.initial_weights", "he", "--out", str(tmp_path / "ann")]
    assert main(["train", "--problem", "images", *data, *network, *machine, *training]) == 0
    init = ["--init", str(tmp_path / "ann" / "ann.safetensors"), "--preset", "hybrid", "--conversion.window", "40"]
    assert main(["convert", *init, *data, *machine, "--out", str(tmp_path / "snn")]) == 0
    spiking, card = load_network(tmp_path / "snn" / "snn.safetensors")
    assert card.conversion["readout"] == "potential" and spiking.config.layers.endswith("b6s2d20-a4-3")
    *_, last, _ = spiking.stack.spiking_layers()
    assert float(last.scale[0]) == pytest.approx(float(spiking.stack.layers[1].scale[0]), rel=1e-4)  # 1, in a block
