"""Variants of a training side by side: with a stand-in for the command, and once for real."""

import pytest

from separator.cli.main import command_parser, main
from separator.cli.options.configured import settings_from
from separator.models import load_model
from separator.tasks.learning.settings import TrainingSettings
from tests.recipes.running import BLANK, MACHINE, RECIPES, SHORT, SMALL, put_in_place, run_script

SCRIPT = RECIPES / "open-2mix" / "variants.sh"
LISTS = sorted(SCRIPT.parent.glob("conf/*.txt"))
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$NOTES"
case "$*" in *"$FAILING"*) exit 1 ;; esac
while [ $# -gt 1 ]; do
  [ "$1" != --out ] || mkdir -p "$2"
  shift
done
"""


@pytest.fixture
def variants(synthetic_corpus, tmp_path):
    """Runs the recipe with a stand-in; returns its exit status, error output and the calls that it made."""
    put_in_place(STAND_IN, tmp_path / "bin")
    for name in ("test", "other-x"):
        (tmp_path / "mixtures" / name).mkdir(parents=True)
        (tmp_path / "mixtures" / name / "mixtures.tsv").touch()

    def run(*options, failing="nothing fails", places=("--mixtures", tmp_path / "mixtures", "--corpus", synthetic_corpus)):
        (tmp_path / "notes").write_text("")
        changed = {"NOTES": str(tmp_path / "notes"), "FAILING": failing}
        status, error = run_script(SCRIPT, *places, *options, "--exp", tmp_path / "exp", commands=tmp_path / "bin", **changed)
        return status, error, (tmp_path / "notes").read_text().splitlines()

    return run


def test_each_variant_is_trained_alike_and_all_are_scored_together(variants, tmp_path):
    (tmp_path / "list").write_text("# two\none\ntwo  --data.close_pairs 0 # random\n\n")
    status, error, calls = variants("--list", tmp_path / "list", "--hours", "2.5", "--other", "x", "--limit", 7)
    assert status == 0, error
    first, second, scoring = calls
    assert first.startswith("train ") and "--optimiser.finish 2.5" in first and f"--out {tmp_path}/exp/one " in first
    assert second.replace("/two ", "/one ").replace("--data.close_pairs 0 ", "") == first
    assert f"--mixtures open={tmp_path}/mixtures/test x={tmp_path}/mixtures/other-x" in scoring and "--limit 7" in scoring
    assert f"--model one={tmp_path}/exp/one/ann.safetensors two={tmp_path}/exp/two/ann.safetensors" in scoring


def test_a_stopped_command_goes_on_with_the_variant_that_it_was_at(variants, tmp_path):
    (tmp_path / "list").write_text("one\ntwo\n")
    status, _, calls = variants("--list", tmp_path / "list", failing="exp/two --optimiser")
    assert status == 1 and len(calls) == 2
    status, _, calls = variants("--list", tmp_path / "list")
    assert status == 0 and [call.split()[0] for call in calls] == ["train", "evaluate"] and "exp/two " in calls[0]


def test_variants_learned_by_other_options_are_not_taken(variants, tmp_path):
    (tmp_path / "list").write_text("one\ntwo --data.close_pairs 0\n")
    assert variants("--list", tmp_path / "list", "--only", "two")[0] == 0
    for options in (("--hours", 20), ("--train-options", "--optimiser.lr 1"), ("--init", "small-ann")):
        status, error, calls = variants("--list", tmp_path / "list", *options)
        assert status == 1 and error.count("\n") == 1 and not calls
        assert f"{tmp_path}/exp/two was learned by other options; give those, or another --exp" in error
    (tmp_path / "exp" / "two" / "done").write_text("")  # as earlier versions left it
    status, _, calls = variants("--list", tmp_path / "list", "--hours", 20)
    assert status == 0 and [call.split()[0] for call in calls] == ["train", "evaluate"] and "exp/one " in calls[0]


def test_the_last_line_of_a_list_may_lack_its_end(variants, tmp_path):
    (tmp_path / "list").write_text("one\ntwo --data.close_pairs 0")
    _, _, calls = variants("--list", tmp_path / "list")
    assert [call.split()[0] for call in calls] == ["train", "train", "evaluate"] and "two=" in calls[2]


def test_some_variants_alone(variants, tmp_path):
    (tmp_path / "list").write_text("one\ntwo\n")
    _, _, calls = variants("--list", tmp_path / "list", "--only", "two")
    assert len(calls) == 2 and "two=" in calls[1] and "one=" not in calls[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give --list"),
        (("--list", "nowhere"), "there is no list of variants"),
        (("--list", "conf/networks.txt", "--hours", "0"), "--hours is a number above 0, not '0'"),
        (("--list", "conf/networks.txt", "--hours", "soon"), "--hours is a number above 0, not 'soon'"),
        (("--list", "conf/networks.txt", "--more", "/nowhere"), "--more: /nowhere is not a Kaldi data folder"),
        (("--list", "conf/networks.txt", "--other", "y"), "stage 1 of run.sh makes them"),
        (("--list", "conf/networks.txt", "--only", "none"), "has no variant named none"),
        (("--list", "conf/networks.txt", "--corpus", "/nowhere"), "/nowhere/train is not a Kaldi data folder"),
    ],
)
def test_what_cannot_be_is_one_line(variants, options, message):
    status, error, calls = variants(*options)
    assert status == 1 and message in error and error.count("\n") == 1 and not calls


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_options_of_all_lists_are_understood(path, tmp_path):
    """By the command's own parser, on top of the configuration that they vary."""
    base = ["--config", str(path.parent / "medium.yaml"), "--data.train", "a", "--data.dev", "b", "--out", str(tmp_path)]
    seen = []
    for line in path.read_text().splitlines():
        name, *options = line.split("#")[0].split() or [None]
        if name:
            parsed = command_parser("train")[1].parse_args([*base, *options])
            seen.append(settings_from(parsed, TrainingSettings))
    assert len(seen) == len({str(settings) for settings in seen}) > 1  # no two are the same


def test_two_variants_for_real(synthetic_corpus, tmp_path):
    for name in ("test", "dev"):
        place = tmp_path / "mixtures" / name
        main(["mix", "--corpus", str(synthetic_corpus / name), "--list", f"{place}.txt", "--draw", "3", "--out", str(place)])
    (tmp_path / "list").write_text("plain --data.close_pairs 0\nclose\n")
    options = f"{SMALL} {SHORT} {MACHINE} --data.held_out 0 --network.look_back [4] --optimiser.dev_every 1"
    status, error = run_script(
        SCRIPT,
        *("--corpus", synthetic_corpus, "--mixtures", tmp_path / "mixtures", "--list", tmp_path / "list"),
        *("--hours", 2 * 8 * 0.5 / 3600, "--train-options", options, "--exp", tmp_path / "exp", "--limit", 2, "--jobs", 1),
        **{BLANK: "1"},
    )
    assert status == 0, error
    cards = [load_model(tmp_path / "exp" / name / "ann.safetensors").card for name in ("plain", "close")]
    assert [card.scores["hours"] for card in cards] == [pytest.approx(2 * 8 * 0.5 / 3600)] * 2
    table = (tmp_path / "exp" / "results" / "RESULTS.md").read_text()
    assert "| Open | plain |" in table and "| Open | close |" in table
