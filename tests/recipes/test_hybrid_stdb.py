"""The recipe of hybrid conversion, run on a handful of made-up pictures, or what it would run."""

import csv
import json

import numpy as np
import pytest
import torch

from separator.models.files import load_network
from tests.images.test_cifar import write_batches
from tests.recipes.running import run

MACHINE = "--device cpu --threads 1"


def test_it_runs_from_the_pictures_to_the_scores(tmp_path):
    write_batches(tmp_path / "cifar10")
    fewer = ("--steps", 40, "--balance-steps", 8, "--images", 2, "--scale", 0.5, "--few-steps", 6, "--epochs", 1)
    options = f"--data.batch 5 --optimiser.max_epochs 1 {MACHINE}"
    status, error = run(
        "hybrid-stdb",
        *("--data", tmp_path, "--exp", tmp_path / "exp", *fewer),
        *("--options", options, "--spiking-options", MACHINE, "--convert-options", "--conversion.calibration_batches 1"),
        *("--stop-stage", 5, "--derivatives", "linear", "--tune-options", "--data.batch 5 --learning.segment 4"),
    )
    assert status == 0, error
    out = tmp_path / "exp" / "vgg5-w16"
    analog, _ = load_network(out / "ann/ann.safetensors")
    assert (analog.config.mean, analog.config.std, analog.config.norm, analog.config.bias) == (0.5, 0.5, False, False)
    thresholds = []
    for name, window, scale in (("converted", 40, 1.0), ("reduced", 6, 0.5)):
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
        *[("converted", "2", "40"), ("reduced", "2", "6"), ("stdb", "2", "6")]
    ]
    reduced, _ = load_network(out / "reduced/snn.safetensors")
    for name in ("stdb", "derivatives/linear"):
        tuned, card = load_network(out / name / "snn.safetensors")
        dynamics = tuned.stack.dynamics
        assert (dynamics.neuron, dynamics.neuron_options, dynamics.window) == ("leaky", {"leak": 0.99}, 6)
        first, before = tuned.stack.spiking_layers()[0], reduced.stack.spiking_layers()[0]
        assert not torch.equal(first.weight * first.quantum.view(-1, 1, 1, 1), before.weight * before.quantum.view(-1, 1, 1, 1))
    for folder, names in ((out / "results", ["ann", "reduced", "stdb"]), (out / "derivatives/results", ["linear"])):
        told = json.loads((folder / "results.json").read_text())["models"]
        assert [model["model"] for model in told] == names and all(model["layers"] for model in told)


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
