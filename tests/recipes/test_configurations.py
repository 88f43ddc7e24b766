"""Every configuration of the recipes is one that its command takes as it stands."""

import pytest
import yaml

from separator.cli.configured import settings_from
from separator.cli.main import command_parser, main
from separator.tasks.learning.sweeps.sweep import ImageSweepSettings
from tests.recipes.running import RECIPES

CONFIGURATIONS = sorted(RECIPES.rglob("*.yaml"))
REQUIRED = {
    "train": ["--data.train=a", "--data.dev=b"],
    "convert": ["--data.train=a", "--data.dev=b", "--model=m"],
    "train-images": ["--data.folder=a", "--model.layers=8-10"],
    "convert-images": ["--data.folder=a", "--model=m"],
    "sweep-images": ["--data.folder=a", "--model.layers=8-10"],
}


def command_of(path):
    """The command that takes a configuration: in most recipes for images a sweep, which trains and converts."""
    recipe, converts = path.parents[1].name, path.stem.startswith("ptl") and not path.stem.endswith(".tune")
    if recipe in ("open-2mix", "wsj0-2mix"):
        return "convert" if converts else "train"
    if recipe == "imagenet":
        return "convert-images" if converts else "train-images"
    return {"mnist": "sweep-images", "mnist-autoencoder": "sweep-images", "cifar10": "sweep-images"}[recipe]


def arguments(path):
    """The command's arguments: as the scripts do, sweeps read `ann.yaml` first; what comes later counts for more."""
    command = command_of(path)
    before = [f"--config={path.with_name('ann.yaml')}"] if command == "sweep-images" else []
    return [*REQUIRED[command], *before, f"--config={path}", "--out=o"]


def printed(path, capsys):
    """The whole configuration that the file leads to, as the command prints it."""
    with pytest.raises(SystemExit) as ended:
        main([command_of(path), *arguments(path), "--print_config"])
    shown = capsys.readouterr()
    assert ended.value.code == 0, shown.err
    return yaml.safe_load(shown.out)


def differing(asked, found, place=""):
    """Values of a file that the command did not take over, by place."""
    if isinstance(asked, dict) and isinstance(found, dict):
        return [line for key, value in asked.items() for line in differing(value, found.get(key, "absent"), f"{place}.{key}")]
    return [] if asked == found else [f"{place[1:]}: {asked} became {found}"]


def test_there_are_configurations():
    assert {path.parents[1].name for path in CONFIGURATIONS} == {path.parents[1].name for path in RECIPES.glob("*/conf/*")}


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: str(path.relative_to(RECIPES)))
def test_the_command_takes_every_value(path, capsys):
    assert differing(yaml.safe_load(path.read_text()), printed(path, capsys)) == []


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: str(path.relative_to(RECIPES)))
def test_the_values_make_settings(path):
    parsed = command_parser(command_of(path))[1].parse_args(arguments(path))
    if command_of(path) == "sweep-images":
        sweep = settings_from(parsed, ImageSweepSettings)
        assert len([sweep.settings_of(work) for work in sweep.conversions()]) >= len(sweep.variants)


def test_a_value_that_there_is_none_of_is_refused(tmp_path, capsys):
    path = tmp_path / "open-2mix" / "conf" / "wrong.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("optimiser: {speed: 9}\n")
    with pytest.raises(AssertionError, match="speed"):
        printed(path, capsys)
