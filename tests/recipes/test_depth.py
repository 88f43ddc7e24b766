"""The recipe of Fig. 4, with a stand-in for the command that it calls, which takes note of how."""

import subprocess
from pathlib import Path

import pytest

from separator.cli.main import command_parser, main
from separator.cli.options.configured import settings_from
from separator.models.feedforward import NETWORKS
from separator.tasks.learning.conversion import ConversionRun
from separator.tasks.learning.settings import TrainingSettings
from tests.recipes.running import put_in_place, run_script

SCRIPT = Path(__file__).parents[2] / "recipes" / "cifar10" / "depth.sh"
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$NOTES"
case "$*" in
  train* | convert*) out=${*: -1} ;;
  *) exit 0 ;;
esac
case "$*" in
  *"$FAILING"*) exit "$STATUS" ;;
esac
mkdir -p "$out/csv/version_0"
echo "epoch,dev_loss" >"$out/csv/version_0/metrics.csv"
"""


@pytest.fixture
def depth(tmp_path):
    """Runs the recipe; returns its exit status, error output and the calls that it made."""
    put_in_place(STAND_IN, tmp_path / "bin")

    def run(*options, failing="nothing fails", status=3):
        notes = tmp_path / "notes"
        notes.write_text("")
        changed = {"NOTES": str(notes), "FAILING": failing, "STATUS": str(status)}
        status, error = run_script(SCRIPT, *options, "--exp", tmp_path / "exp", commands=tmp_path / "bin", **changed)
        return status, error, [call.split() for call in notes.read_text().splitlines()]

    return run


def value(call, option):
    return call[call.index(option) + 1]


def test_every_network_is_trained_each_way_and_all_are_drawn(depth, tmp_path):
    status, error, calls = depth("--data", ".", "--options", "--device cpu")
    assert status == 0, error
    *made, drawing = calls
    trainings, conversions = ([call for call in made if call[0] == name] for name in ("train", "convert"))
    assert (len(made), len(trainings), len(conversions)) == (15, 9, 6)
    seen = {(value(call, "--learning.rule"), value(call, "--network.layers")) for call in trainings}
    networks = {NETWORKS[f"cifar10-vgg{n}"].replace("-d50", "") for n in (11, 13, 16)}
    assert seen == {(way, layers) for way in ("analog", "tandem", "surrogate") for layers in networks}
    for call in trainings:
        assert [value(call, f"--{name}") for name in ("conversion.window", "optimiser.max_epochs", "device")] == [
            "8",
            "100",
            "cpu",
        ]
    analog = {value(call, "--out") for call in trainings if value(call, "--learning.rule") == "analog"}
    assert {value(call, "--init").removesuffix("/ann.safetensors") for call in conversions} == analog
    assert [value(call, "--conversion.max_epochs") for call in conversions] == ["10", "5", "8", "4", "7", "4"]
    assert [value(call, "--preset") for call in conversions] == ["published", "few-steps"] * 3
    folders = {value(call, "--out") for call in made}
    assert drawing[0] == "plot-curves" and {run.split("=")[1] for run in drawing[1:-2]} == folders
    assert drawing[1].split("=")[0] == "analog/VGG-11"
    assert drawing[-1] == str(tmp_path / "exp" / "curves.png")


def test_the_small_size_is_an_eighth(depth):
    _, _, calls = depth("--data", ".", "--width", 8, "--depths", "11", "--learning", "tandem")
    assert value(calls[0], "--network.layers") == "c8-a2-c16-a2-c32-c32-a2-c64-c64-a2-c64-c64-a2-64-64-10"
    assert len(calls) == 2


def test_its_calls_are_those_that_the_commands_take(depth, capsys, drawn):
    options = ("--width", 1, "--depths", "11", "--learning", "surrogate", "--epochs", 3, "--window", 2)
    _, _, (training, drawing) = depth("--data", ".", *options, "--options", "--data.train_limit 5 --seed 7")
    parsed = command_parser("train")[1].parse_args(training[1:])
    settings = settings_from(parsed, TrainingSettings)
    assert (settings.learning.rule, settings.conversion.window, settings.conversion.calibration_batches) == ("surrogate", 2, 4)
    assert (settings.optimiser.max_epochs, settings.optimiser.schedule, settings.seed) == (3, "step", 7)
    problem = settings.problem
    assert (problem.data.kind, problem.data.train_limit, problem.network.channels) == ("cifar10", 5, 3)
    log = parsed.out / "csv" / "version_0" / "metrics.csv"
    log.write_text("dev_accuracy,dev_loss,epoch\n10,2.3,0\n")
    assert main(drawing) == 0
    assert "| surrogate | VGG-11 | 1 | 10.00 |" in capsys.readouterr().out
    assert [[line.get_xydata().tolist() for line in axes.lines] for axes in drawn[0].axes] == [[[[1, 10]]]]
    assert [axes.get_title() for axes in drawn[0].axes] == ["surrogate"]


def test_its_conversions_are_those_that_the_command_takes(depth):
    options = ("--depths", "16", "--epochs", 12, "--convert-options", "--seed 3")
    _, _, (*_, conversion, few_steps, _) = depth("--data", ".", *options)
    parsed = (command_parser("convert")[1].parse_args(call[1:]) for call in (conversion, few_steps))
    settings, fewer = (settings_from(found, ConversionRun) for found in parsed)
    assert (settings.seed, settings.problem.data.kind, settings.conversion.window) == (3, "cifar10", 8)
    assert settings.conversion.max_epochs == 1 and settings.conversion.statistics == "all"
    assert settings.conversion.readout == "potential"
    assert (settings.conversion.passes, fewer.conversion.passes, fewer.conversion.max_epochs) == (1, 2, 1)


def test_what_diverges_is_left_out_and_what_fails_otherwise_ends_it(depth):
    status, error, calls = depth("--data", ".", "--depths", "11", failing="tandem-vgg11")
    assert status == 0 and len(calls) == 6
    names = [run.split("=")[0] for run in calls[-1][1:-2]]
    assert names == [f"{way}/VGG-11" for way in ("analog", "surrogate", "progressive", "few-steps")]
    assert "VGG-11, tandem: no epoch was finished; it is left out" in error
    for other in (1, 2, 130):
        status, _, calls = depth("--data", ".", "--depths", "16", failing="tandem-vgg16", status=other)
        assert status == other and len(calls) == 2
    status, error, calls = depth("--data", ".", "--depths", "13", failing="vgg13")
    assert status == 1 and "no training has finished an epoch" in error
    assert [call[0] for call in calls] == ["train"] * 3
    assert "VGG-13, few-steps: the analog network diverged, so there is nothing to convert" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give --data, the folder with CIFAR-10"),
        (("--data", "nowhere"), "not nowhere"),
        (("--data", ".", "--depths", "12"), "not 12"),
        (("--data", ".", "--width", "x"), "--width must be a whole number"),
        (("--data", ".", "stray"), "unexpected argument stray"),
    ],
)
def test_wrong_options_end_it(depth, options, message):
    status, error, calls = depth(*options)
    assert (status, calls) == (1, [])
    assert message in error


def test_help_tells_the_options():
    text = subprocess.run(["bash", SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout
    for name in ("data", "width", "depths", "learning", "epochs", "window", "options", "exp"):
        assert f"--{name} " in text
