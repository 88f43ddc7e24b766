"""The recipes' own stages, from the corpus to the mixtures, as a user calls them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from separator.corpora.kaldi import read_corpus
from separator.corpora.lists import make_list, read_list
from separator.corpora.mixtures import corpus_sources, read_mixtures

RECIPES = Path(__file__).parents[2] / "recipes"


def run(recipe, *options, commands=Path(sys.executable).parent):
    """Run a recipe in this environment, or with the commands of another folder; returns its exit status and error output."""
    environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"}
    command = ["bash", RECIPES / recipe / "run.sh", *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return result.returncode, result.stderr


@pytest.mark.parametrize("recipe", ["open-2mix", "wsj0-2mix"])
@pytest.mark.parametrize("options", [("--nonsense", "1"), ("--stage", "x"), ("--jobs", ""), ("stray",)])
def test_wrong_options_end_it(recipe, options):
    status, error = run(recipe, *options)
    assert status == 1
    assert error.startswith("run.sh: error: ")


@pytest.mark.parametrize("recipe", ["open-2mix", "wsj0-2mix", "mnist-autoencoder", "mnist", "cifar10"])
def test_help_tells_the_options(recipe):
    text = subprocess.run(["bash", RECIPES / recipe / "run.sh", "--help"], capture_output=True, text=True, check=True).stdout
    script = (RECIPES / recipe / "run.sh").read_text()
    defaults = script[script.index("\nrecipe=") : script.index("\n. ")].split()
    names = {line.split("=")[0].replace("_", "-") for line in defaults if "=" in line and line[0].islower()} - {"recipe"}
    assert {name for name in names if f"--{name}" not in text} == set()


def test_wsj0_2mix_makes_the_mixtures_of_the_lists(fake_wsj0, tmp_path):
    options = ("--wsj0", fake_wsj0.root, "--lists", fake_wsj0.lists, "--levels", fake_wsj0.levels)
    status, error = run("wsj0-2mix", *options, "--data", tmp_path, "--exp", tmp_path, "--stop-stage", 1, "--jobs", 1)
    assert status == 0, error
    counts = {name: len(read_mixtures(tmp_path / "wav8k" / "min" / name)) for name in ("tr", "cv", "tt")}
    assert counts == {"tr": 6, "cv": 3, "tt": 9}
    assert read_mixtures(tmp_path / "wav8k" / "min" / "cv")[0].genders == ("m", "f")


SMALL = "--model.filters 32 --model.filter_length 16 --model.channels 8 --model.dilations [1,2]"
SHORT = "--data.segment 0.5 --data.batch 4 --data.workers 0 --data.epoch_mixtures 8 --data.dev_mixtures 4"
MACHINE = "--optimiser.max_epochs 1 --machine.accelerator cpu --machine.devices 1 --machine.threads 1"


def test_wsj0_2mix_runs_from_the_discs_to_the_examples(fake_wsj0, tmp_path):
    status, error = run(
        "wsj0-2mix",
        *("--wsj0", fake_wsj0.root, "--lists", fake_wsj0.lists, "--levels", fake_wsj0.levels, "--genders", fake_wsj0.genders),
        *("--data", tmp_path, "--exp", tmp_path / "exp", "--tag", "tiny", "--jobs", 1),
        *("--train-options", f"{SMALL} {SHORT} {MACHINE}"),
        *("--convert-options", f"{SHORT} --conversion.max_epochs 1 --conversion.window 4 --threads 1"),
    )
    assert status == 0, error
    out = tmp_path / "exp" / "tiny"
    expected = ("ann/ann.safetensors", "ptl/snn.safetensors", "ptl/report.md", "RESULTS.md", "examples/index.html")
    assert [name for name in expected if not (out / name).is_file()] == []
    table = (out / "RESULTS.md").read_text()
    for row in ("| Open | mixture |", "| Open | ann |", "| Open | ptl |", "| Closed | ptl |"):
        assert row in table


def test_wsj0_2mix_says_what_it_lacks(fake_wsj0, tmp_path):
    for options, message in (
        ((), "stage 0 needs --wsj0 DIR"),
        (("--wsj0", tmp_path), "stages 0 and 1 need --lists DIR"),
        (("--wsj0", tmp_path, "--lists", fake_wsj0.lists), r"must hold the .wv1 recordings"),
        (("--wsj0", tmp_path, "--mode", "mid"), "--mode is min or max, not mid"),
        (("--wsj0", tmp_path, "--rate", "44100"), "--rate is 8000 or 16000, not 44100"),
    ):
        status, error = run("wsj0-2mix", "--data", tmp_path / "d", "--exp", tmp_path / "e", *options)
        assert status == 1
        assert message in error


def test_open_2mix_draws_seeded_lists_and_makes_their_mixtures(synthetic_corpus, tmp_path):
    options = ("--corpus", synthetic_corpus, "--dev-mixtures", 8, "--test-mixtures", 5, "--stop-stage", 1, "--jobs", 1)
    status, error = run("open-2mix", *options, "--data", tmp_path, "--exp", tmp_path)
    assert status == 0, error
    for name, count, seed in (("dev", 8, 1), ("test", 5, 2)):
        sources = corpus_sources(read_corpus(synthetic_corpus / name))
        drawn = make_list({path: source.speaker for path, source in sources.items()}, count, seed)
        assert read_list(tmp_path / "lists" / f"{name}.txt") == drawn
        assert [m.id for m in read_mixtures(tmp_path / "wav8k" / "min" / name)] == [entry.id for entry in drawn.entries]


def test_open_2mix_runs_from_the_corpus_to_the_examples(synthetic_corpus, tmp_path):
    conversion = "--conversion.max_epochs 1 --conversion.calibration_batches 2 --threads 1"
    status, error = run(
        "open-2mix",
        *("--corpus", synthetic_corpus, "--dev-mixtures", 4, "--test-mixtures", 4, "--jobs", 1),
        *("--convert-configs", RECIPES / "open-2mix" / "conf" / "ptl-4.yaml", "--data", tmp_path, "--exp", tmp_path / "exp"),
        *("--train-options", f"{SMALL} {SHORT} {MACHINE}", "--convert-options", f"{SHORT} {conversion}"),
        *("--tune-options", f"{SHORT} {MACHINE}"),
    )
    assert status == 0, error
    out = tmp_path / "exp" / "small"
    expected = ("ann/ann.safetensors", "ptl-4/snn.safetensors", "ptl-4-tuned/snn.safetensors", "examples/index.html")
    assert [name for name in expected if not (out / name).is_file()] == []
    table = (out / "RESULTS.md").read_text()
    assert all(f"| Open | {system} |" in table for system in ("mixture", "ann", "ptl-4", "ptl-4-tuned"))


def test_open_2mix_needs_a_corpus(tmp_path):
    status, error = run("open-2mix", "--data", tmp_path / "d", "--exp", tmp_path / "e")
    assert status == 1
    assert "give --corpus, or --librispeech and --speechocean762" in error
    status, error = run("open-2mix", "--corpus", tmp_path, "--data", tmp_path / "d", "--exp", tmp_path / "e")
    assert status == 1
    assert f"{tmp_path}/train is not a Kaldi data folder" in error
