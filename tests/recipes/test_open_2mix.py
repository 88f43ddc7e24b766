"""The recipe for open corpora, on one that is made up."""

import shutil

import pytest

from separator.corpora.kaldi import read_corpus
from separator.corpora.lists import make_list, read_list
from separator.corpora.mixtures import corpus_sources, read_mixtures
from separator.models import load_model
from tests.recipes.running import MACHINE, RECIPES, SHORT, SMALL, put_in_place, run, run_script


def test_draws_seeded_lists_and_makes_their_mixtures(synthetic_corpus, tmp_path):
    options = ("--corpus", synthetic_corpus, "--dev-mixtures", 8, "--test-mixtures", 5, "--stop-stage", 1, "--jobs", 1)
    status, error = run("open-2mix", *options, "--data", tmp_path, "--exp", tmp_path)
    assert status == 0, error
    for name, count, seed in (("dev", 8, 1), ("test", 5, 2)):
        sources = corpus_sources(read_corpus(synthetic_corpus / name))
        drawn = make_list({path: source.speaker for path, source in sources.items()}, count, seed)
        assert read_list(tmp_path / "lists" / f"{name}.txt") == drawn
        assert [m.id for m in read_mixtures(tmp_path / "wav8k" / "min" / name)] == [entry.id for entry in drawn.entries]


def test_further_conditions_are_drawn_with_a_seed_of_their_own(synthetic_corpus, tmp_path):
    options = ("--corpus", synthetic_corpus, "--dev-mixtures", 2, "--test-mixtures", 2, "--stop-stage", 1, "--jobs", 1)
    others = f"loud={synthetic_corpus}/test\n  far={synthetic_corpus}/train"
    places = ("--data", tmp_path, "--exp", tmp_path)
    status, error = run("open-2mix", *options, *places, "--other", others, "--other-mixtures", 3)
    assert status == 0, error
    for name, folder in (("loud", "test"), ("far", "train")):
        sources = corpus_sources(read_corpus(synthetic_corpus / folder))
        drawn = make_list({path: source.speaker for path, source in sources.items()}, 3, seed=3)
        assert read_list(tmp_path / "lists" / f"other-{name}.txt") == drawn
        made = read_mixtures(tmp_path / "wav8k" / "min" / f"other-{name}")
        assert [mixture.id for mixture in made] == [entry.id for entry in drawn.entries]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("{corpus}/test", "--other takes NAME=DIR, not '{corpus}/test'"),
        ("x={corpus}/test =there", "--other takes NAME=DIR, not '=there'"),
        ("x=", "--other takes NAME=DIR, not 'x='"),
        ("*=there", "--other takes NAME=DIR, not '*=there'"),
        ("a/b={corpus}/test", "unlike 'a/b'"),
        ("open={corpus}/test", "the name open is taken"),
        ("closed={corpus}/test", "the name closed is taken"),
        ("x={corpus}/test x={corpus}/dev", "the name x is taken"),
        ("x={corpus}", "{corpus} is not a Kaldi data folder"),
    ],
)
def test_further_conditions_that_cannot_be(synthetic_corpus, tmp_path, other, message):
    places = ("--data", tmp_path / "d", "--exp", tmp_path / "e")
    other, message = (text.format(corpus=synthetic_corpus) for text in (other, message))
    status, error = run("open-2mix", "--corpus", synthetic_corpus, *places, "--other", other)
    assert status == 1
    assert error.startswith("run.sh: error: --other") and message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "d").exists()


def test_runs_from_the_corpus_to_the_examples(synthetic_corpus, tmp_path):
    conversion = "--conversion.max_epochs 1 --conversion.calibration_batches 2 --threads 1"
    status, error = run(
        "open-2mix",
        *("--corpus", synthetic_corpus, "--dev-mixtures", 2, "--test-mixtures", 2, "--jobs", 1),
        *("--convert-configs", RECIPES / "open-2mix" / "conf" / "ptl-4.yaml", "--data", tmp_path, "--exp", tmp_path / "exp"),
        *("--train-options", f"{SMALL} {SHORT} {MACHINE}", "--convert-options", f"{SHORT} {conversion}"),
        *("--tune-options", f"{SHORT} {MACHINE}", "--other", f"far={synthetic_corpus}/dev", "--other-mixtures", 2),
        pictures=True,
    )
    assert status == 0, error
    out = tmp_path / "exp" / "small"
    expected = ("ann/ann.safetensors", "ptl-4/snn.safetensors", "ptl-4-tuned/snn.safetensors", "examples/index.html")
    assert [name for name in expected if not (out / name).is_file()] == []
    table = (out / "RESULTS.md").read_text()
    rows = [f"| {condition} | {system} |" for condition in ("Open", "Far") for system in ("mixture", "ann", "ptl-4-tuned")]
    assert [row for row in rows if row not in table] == []
    assert "| Far | (mixtures) |" in table and "(pitch.png)" in table
    assert (out / "pitch.png").read_bytes() == (out / "results" / "pitch.png").read_bytes()


def test_a_checkout_may_have_a_path_with_a_space(synthetic_corpus, tmp_path):
    """By a stand-in for the command, which keeps its arguments, one a line."""
    recipes = shutil.copytree(RECIPES, tmp_path / "a checkout" / "recipes", ignore=shutil.ignore_patterns("data", "exp"))
    put_in_place(f"#!/usr/bin/env bash\nprintf '%s\\n' \"$@\" >>'{tmp_path}/arguments'\n", tmp_path / "bin")
    for script, *options in (
        ("open-2mix/run.sh", "--corpus", synthetic_corpus),
        (
            "open-2mix/methods.sh",
            "--corpus",
            synthetic_corpus,
            "--leaky-configs",
            "conf/ptl.yaml",
            "--relu-configs",
            "conf/relu-4.yaml",
        ),
        ("wsj0-2mix/run.sh",),
    ):
        places = ("--data", tmp_path / "data", "--exp", tmp_path / "exp")
        status, error = run_script(
            recipes / script, *options, *places, "--stage", 3, "--stop-stage", 3, commands=tmp_path / "bin"
        )
        assert status == 0, error
    configurations = [line for line in (tmp_path / "arguments").read_text().splitlines() if line.endswith(".yaml")]
    names = ("open-2mix/conf/ptl.yaml", "open-2mix/conf/ptl-4.yaml", "open-2mix/conf/ptl-4.tune.yaml")
    of_methods = ("open-2mix/conf/ptl.yaml", "open-2mix/conf/relu-4.yaml")
    assert configurations == [str(recipes / name) for name in (*names, *of_methods, "wsj0-2mix/conf/ptl.yaml")]


def test_medium_learns_from_several_corpora(synthetic_corpus, tmp_path):
    """Its own configuration, but for sizes; no speaker held out, as there are so few."""
    medium = RECIPES / "open-2mix" / "conf" / "medium.yaml"
    held_out = "--data.held_out 0 --optimiser.dev_every 1 --network.look_back [4]"
    status, error = run(
        "open-2mix",
        *("--corpus", synthetic_corpus, "--more", f"{synthetic_corpus}/test", "--stage", 2, "--stop-stage", 2),
        *("--config", medium, "--tag", "medium", "--data", tmp_path, "--exp", tmp_path / "exp"),
        *("--train-options", f"{SMALL} {SHORT} {MACHINE} {held_out}"),
    )
    assert status == 0, error
    folder = tmp_path / "exp" / "medium" / "ann"
    card = load_model(folder / "ann.safetensors").card
    assert card.config["skips"] and card.config["norm_window"] == 1.0 and card.config["look_back"] == [4]
    assert card.scores["hours"] == pytest.approx(8 * 0.5 / 3600)
    assert (folder / "hours.csv").read_text().count("\n") == 2


def test_medium_is_converted_and_learns_on_as_a_spiking_network(synthetic_corpus, tmp_path):
    conf = RECIPES / "open-2mix" / "conf"
    held_out = "--data.held_out 0 --optimiser.dev_every 1"
    status, error = run(
        "open-2mix",
        *("--corpus", synthetic_corpus, "--stage", 2, "--stop-stage", 3, "--config", conf / "medium.yaml", "--tag", "medium"),
        *("--train-options", f"{SMALL} {SHORT} {MACHINE} {held_out} --network.look_back [4]"),
        *("--convert-configs", conf / "medium-8.yaml", "--convert-options", f"{SHORT} --data.held_out 0 --threads 1"),
        *(
            "--tune-options",
            f"{SHORT} {MACHINE} {held_out} --optimiser.finish 0.001 --optimiser.warmup 0",
            "--data",
            tmp_path,
            "--exp",
            tmp_path / "exp",
        ),
    )
    assert status == 0, error
    networks = [load_model(tmp_path / "exp" / "medium" / name / "snn.safetensors") for name in ("medium-8", "medium-8-tandem")]
    assert [network.card.name for network in networks] == ["medium-snn"] * 2
    at_once, tandem = (network.network.state_dict() for network in networks)
    assert at_once.keys() == tandem.keys()
    assert any((at_once[name] != tandem[name]).any() for name in at_once)


def test_further_corpora_are_kaldi_folders(synthetic_corpus, tmp_path):
    places = ("--data", tmp_path / "d", "--exp", tmp_path / "e")
    status, error = run("open-2mix", "--corpus", synthetic_corpus, *places, "--stage", 2, "--more", synthetic_corpus)
    assert status == 1
    assert error == f"run.sh: error: --more: {synthetic_corpus} is not a Kaldi data folder\n"


def test_needs_a_corpus(tmp_path):
    status, error = run("open-2mix", "--data", tmp_path / "d", "--exp", tmp_path / "e")
    assert status == 1
    assert "give --corpus, or --librispeech and --speechocean762" in error
    status, error = run("open-2mix", "--corpus", tmp_path, "--data", tmp_path / "d", "--exp", tmp_path / "e")
    assert status == 1
    assert f"{tmp_path}/train is not a Kaldi data folder" in error
