"""Every configuration of the recipes is one that its command takes as it stands."""

from dataclasses import fields, is_dataclass

import pytest
import yaml

from separator.cli.main import command_parser, main
from separator.cli.options.configured import configuration_of, settings_from
from separator.tasks.learning.settings import TrainingSettings
from separator.tasks.learning.sweeps.settings import SweepSettings
from tests.recipes.running import RECIPES

CONFIGURATIONS = sorted(RECIPES.rglob("*.yaml"))
REQUIRED = {
    ("train", "speech"): ["--data.train=a", "--data.dev=b"],
    ("convert", "speech"): ["--data.train=a", "--data.dev=b", "--init=m"],
    ("sweep", "speech"): ["--data.train=a", "--data.dev=b"],
    ("train", "images"): ["--data.folder=a"],
    ("convert", "images"): ["--data.folder=a", "--init=m"],
    ("sweep", "images"): ["--data.folder=a"],
}


def command_of(path):
    """The command that takes a configuration, and its problem: in most recipes for images a sweep does both."""
    recipe, values = path.parents[1].name, yaml.safe_load(path.read_text())
    converts = "conversion" in values and "learning" not in values
    if recipe in ("open-2mix", "wsj0-2mix"):
        return ("convert" if converts else "train"), "speech"
    if recipe in ("imagenet", "double-threshold", "hybrid-stdb"):
        return ("convert" if converts else "train"), "images"
    return {"mnist": "sweep", "mnist-autoencoder": "sweep", "cifar10": "sweep"}[recipe], "images"


def arguments(path):
    """The command's arguments: as the scripts do, sweeps read `ann.yaml` first; what comes later counts for more."""
    command, problem = command_of(path)
    before = [f"--config={path.with_name('ann.yaml')}"] if command == "sweep" else []
    return [*REQUIRED[command, problem], *before, f"--config={path}", "--out=o"]


def plain(value):
    """Settings as they stand in a file."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def differing(asked, found, place=""):
    """Values of a file that the command did not take over, by place."""
    if isinstance(asked, dict) and isinstance(found, dict):
        return [line for key, value in asked.items() for line in differing(value, found.get(key, "absent"), f"{place}.{key}")]
    return [] if asked == found else [f"{place[1:]}: {asked} became {found}"]


def test_there_are_configurations():
    assert {path.parents[1].name for path in CONFIGURATIONS} == {path.parents[1].name for path in RECIPES.glob("*/conf/*")}


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: str(path.relative_to(RECIPES)))
def test_the_command_takes_every_value(path):
    command, problem = command_of(path)
    parsed = command_parser(command)[1].parse_args(arguments(path))
    asked = yaml.safe_load(path.read_text())
    found = {name: plain(parsed[name]) for name in asked if name in parsed} | {"problem": problem}
    assert differing(asked, found) == []
    assert parsed.problem.name == problem
    if command == "sweep":
        sweep = settings_from(parsed, SweepSettings)
        assert len([sweep.settings_of(work) for work in sweep.conversions()]) >= len(sweep.variants)


def test_what_was_parsed_is_kept_as_a_configuration_of_the_same_values(tmp_path):
    for path in (path for path in CONFIGURATIONS if command_of(path)[0] == "train"):
        parsed = command_parser("train")[1].parse_args(arguments(path))
        (tmp_path / "config.yaml").write_text(configuration_of(parsed))
        again = command_parser("train")[1].parse_args([f"--config={tmp_path / 'config.yaml'}", "--out=other"])
        assert settings_from(again, TrainingSettings) == settings_from(parsed, TrainingSettings), path
        assert (parsed.out.name, again.out.name) == ("o", "other")


def test_configurations_for_speech_are_swept_over_as_well():
    configurations = [f"--config={RECIPES / 'open-2mix' / 'conf' / name}.yaml" for name in ("small", "ptl")]
    parsed = command_parser("sweep")[1].parse_args([*REQUIRED["sweep", "speech"], *configurations, "--out=o"])
    sweep = settings_from(parsed, SweepSettings)
    assert (sweep.optimiser.name, sweep.conversion.optimiser, sweep.problem.data.epoch_mixtures) == ("muon", "muon", 5000)
    assert len(list(sweep.conversions())) == 30


def test_a_value_that_there_is_none_of_is_refused(tmp_path, capsys):
    path = tmp_path / "open-2mix" / "conf" / "wrong.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("optimiser: {speed: 9}\n")
    with pytest.raises(SystemExit):
        main([command_of(path)[0], *arguments(path), "--print_config"])
    assert "speed" in capsys.readouterr().err


def test_the_configuration_is_printed_with_the_values_of_a_file(capsys):
    path = RECIPES / "hybrid-stdb" / "conf" / "vgg5.yaml"
    with pytest.raises(SystemExit) as ended:
        main([command_of(path)[0], *arguments(path), "--print_config"])
    assert ended.value.code == 0
    assert differing(yaml.safe_load(path.read_text()), yaml.safe_load(capsys.readouterr().out)) == []
