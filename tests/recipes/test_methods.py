"""The recipe for all methods on speech: with a stand-in for the command, and once for real."""

import csv

import pytest

from separator.models import load_model
from tests.recipes.running import BLANK, MACHINE, RECIPES, SHORT, SMALL, put_in_place, run_script

SCRIPT = RECIPES / "open-2mix" / "methods.sh"
CUT = "--data.segment 0.5 --data.batch 4 --data.workers 0 --data.dev_mixtures 4 --conversion.calibration_batches 2 --threads 1"
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$NOTES"
case "$*" in *"$FAILING"*) exit 1 ;; esac
"""


@pytest.fixture
def calls(synthetic_corpus, tmp_path):
    """Runs the recipe with a stand-in; returns its exit status, error output and the calls that it made."""
    put_in_place(STAND_IN, tmp_path / "bin")

    def run(*options, failing="nothing fails", corpus=synthetic_corpus):
        (tmp_path / "notes").write_text("")
        changed = {"NOTES": str(tmp_path / "notes"), "FAILING": failing}
        places = ("--corpus", corpus, "--exp", tmp_path / "exp", "--data", tmp_path / "data")
        status, error = run_script(SCRIPT, *places, *options, commands=tmp_path / "bin", **changed)
        return status, error, (tmp_path / "notes").read_text().splitlines()

    return run


def test_twins_are_trained_and_converted_alike_and_scored_together(calls, tmp_path):
    status, error, lines = calls("--slope", 0.25, "--tuning-mixtures", 9, "--limit", 7, "--stage", 2)
    assert status == 0, error
    leaky, relu = (line for line in lines if line.startswith("train ") and "tune.yaml" not in line)
    assert "--network.slope 0.25" in leaky and f"--out {tmp_path}/exp/leaky/ann" in leaky
    assert leaky.replace("slope 0.25", "slope 0").replace("exp/leaky/", "exp/relu/") == relu
    conversions = [line for line in lines if line.startswith("convert ")]
    assert all("--data.epoch_mixtures 9" in line for line in conversions)
    assert [line.split(f"--out {tmp_path}/exp/")[1].split()[0] for line in conversions] == [
        "leaky/termapping",
        "leaky/augmapping",
        "leaky/termapping-8",
        "leaky/augmapping-4",
        "leaky/path-independent-4",
        "leaky/augmapping-2",
        "leaky/augmapping-2-ptl",
        "relu/relu-4",
        "relu/relu-4-ptl",
        "relu/balanced-8",
        "relu/balanced-32",
    ]
    tunings = [line for line in lines if line.startswith("train ") and "tune.yaml" in line]
    assert [line.split(f"--init {tmp_path}/exp/relu/")[1].split("/")[0] for line in tunings] == ["balanced-8", "balanced-32"]
    assert all("--data.epoch_mixtures 9" in line for line in tunings)
    (scoring,) = (line for line in lines if line.startswith("evaluate "))
    assert "--limit 7" in scoring and f"--model leaky={tmp_path}/exp/leaky/ann/ann.safetensors leaky-termapping=" in scoring
    assert f"leaky-augmapping-4@8={tmp_path}/exp/leaky/augmapping-4/snn.safetensors@8" in scoring
    assert f"relu={tmp_path}/exp/relu/ann/ann.safetensors relu-relu-4=" in scoring


def test_a_stopped_command_ends_with_the_twin_that_it_was_at(calls):
    status, _, lines = calls("--stage", 2, failing="exp/relu/ann --network")
    assert status == 1 and not any(line.startswith("evaluate ") for line in lines)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--slope", 0), "--slope is between 0 and 1, not '0'"),
        (("--leaky-configs", "conf/none.yaml"), "there is no configuration"),
        (("--limit", "x"), "--limit must be a whole number, not 'x'"),
    ],
)
def test_mistakes_are_told_at_once(calls, options, message):
    status, error, lines = calls(*options)
    assert status == 1 and message in error and lines == []
    status, error, _ = calls(corpus="nowhere")
    assert status == 1 and "give --corpus" in error


def test_one_command_trains_both_converts_them_and_makes_the_table(synthetic_corpus, tmp_path):
    options = (
        *("--corpus", synthetic_corpus, "--dev-mixtures", 2, "--test-mixtures", 2, "--limit", 2, "--jobs", 1),
        *("--leaky-configs", "conf/augmapping-4.yaml conf/augmapping-2-ptl.yaml"),
        *("--relu-configs", "conf/relu-4.yaml conf/balanced-8.yaml"),
        *("--data", tmp_path, "--exp", tmp_path / "exp", "--train-options", f"{SMALL} {SHORT} {MACHINE}"),
        *("--convert-options", CUT, "--tuning-mixtures", 8, "--tune-options", f"{SHORT} {MACHINE}"),
    )
    status, error = run_script(SCRIPT, *options, **{BLANK: "1"})
    assert status == 0, error
    out = tmp_path / "exp"
    slopes = [load_model(out / name / "ann" / "ann.safetensors").card.config["slope"] for name in ("leaky", "relu")]
    assert slopes == [0.2, 0.0]
    with (out / "results" / "spikes.csv").open(newline="") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    assert {name: (row["against"], row["window"], row["bits_per_spike"]) for name, row in rows.items()} == {
        "leaky": ("", "", ""),
        "leaky-augmapping-4": ("leaky", "4", "4"),
        "leaky-augmapping-2-ptl": ("leaky", "2", "3"),
        "leaky-augmapping-4@8": ("leaky", "8", "4"),
        "relu": ("", "", ""),
        "relu-relu-4": ("relu", "4", "1"),
        "relu-balanced-8": ("relu", "8", "1"),
        "relu-balanced-8-tuned": ("relu", "8", "1"),
    }
    assert all(float(row["spikes_per_neuron"]) > 0 for row in rows.values() if row["against"])
    assert (out / "results" / "spikes.png").stat().st_size > 1000
    assert "(spikes.png)" in (out / "results" / "RESULTS.md").read_text()
    report = (out / "leaky" / "augmapping-2-ptl" / "report.md").read_text()
    assert "| rate | negative | coefficient | highest | largest | silent | saturated | below |" in report
