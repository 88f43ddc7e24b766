import subprocess

import pytest
from matplotlib.image import imread

from separator.cli.main import main
from separator.models.files import load_network
from separator.snn.layers.spiking import SpikingLayer
from tests.images.test_folder import tree
from tests.recipes.running import RECIPES, run

CROP = "--data.pictures.resize 20 --data.pictures.crop 16"


def test_it_runs_from_the_pictures_to_the_spiking_network(tmp_path):
    status, error = run(
        "imagenet",
        *("--data", tree(tmp_path / "tree"), "--exp", tmp_path / "exp", "--network", "c4k5s2-a2-6-3", "--tag", "tiny"),
        *("--options", f"{CROP} --data.batch 9 --data.pictures.workers 0 --device cpu --threads 1"),
        *("--train-options", "--network.height 16 --network.width 16 --optimiser.max_epochs 1"),
        *("--convert-options", "--conversion.max_epochs 1"),
        *("--score-options", f"{CROP} --data.pictures.workers 0 --device cpu --threads 1"),
    )
    assert status == 0, error
    out = tmp_path / "exp" / "tiny"
    network, card = load_network(out / "ptl-16" / "snn.safetensors")
    assert all(isinstance(layer, SpikingLayer) for layer in network.stack.layers) and card.window == 16
    assert card.training_data == f"{tmp_path / 'tree'} (train)"
    assert imread(out / "ptl-16" / "report.png").shape[:2] == (480, 1200)
    assert load_network(out / "ann" / "ann.safetensors")[1].scores["test"] == card.scores["ann test"]
    report = (out / "results" / "RESULTS.md").read_text()
    line = next(line for line in report.splitlines() if line.startswith("| ptl-16 | "))
    assert line.split(" | ")[1] == f"{card.scores['test']:.2f}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give --data, the folder with train/CLASS"),
        (("--stage", "x"), "give --data"),
        (("--data", "d", "--stage", "x"), "--stage must be a whole number, not 'x'"),
        (("--data", "d", "stray"), "unexpected argument stray"),
        (("--nonsense", "1"), "unknown option --nonsense"),
    ],
)
def test_mistakes_end_it(options, message):
    status, error = run("imagenet", *options)
    assert status == 1
    assert error.startswith(f"run.sh: error: {message}")


def test_help_tells_the_options():
    script = RECIPES / "imagenet" / "run.sh"
    text = subprocess.run(["bash", script, "--help"], capture_output=True, text=True, check=True).stdout
    code = script.read_text()
    defaults = code[code.index("\ndata=") : code.index("\n. ")].split()
    assert {name for name in defaults if f"--{name.split('=')[0].replace('_', '-')} " not in text} == set()


def test_bad_pictures_and_settings_are_one_line(tmp_path, capsys):
    tree(tmp_path, train=4, val=1)
    small = [
        *[
            "--config",
            "recipes/imagenet/conf/ann.yaml",
            "--network.layers",
            "5-3",
            "--network.height",
            "16",
            "--network.width",
            "16",
        ],
        *CROP.split(),
    ]
    small += ["--device", "cpu", "--data.pictures.workers", "0", "--out", str(tmp_path / "out"), "--data.folder"]
    for options, message in (
        ([str(tmp_path / "val")], "has no folder train; give the folder with train/CLASS/*.JPEG"),
        ([str(tmp_path), "--network.layers", "5-4"], "to classify, the network needs 3 outputs, not 4"),
        ([str(tmp_path), "--network.height", "24"], "the network sees pictures of (3, 24, 16), but those of"),
    ):
        assert main(["train", *small, *options]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and message in error
    assert not (tmp_path / "out").exists()
    damaged = tmp_path / "train" / "bee" / "2.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:300])
    assert main(["train", *small, str(tmp_path), "--optimiser.max_epochs", "1"]) == 1
    assert f"cannot read the picture {damaged}" in capsys.readouterr().err.splitlines()[-1]
