"""Every configuration of the recipes is one that its command takes as it stands."""

import pytest
import yaml

from separator.cli.main import command_parser, main
from separator.cli.options.configured import settings_from
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
    recipe, converts = path.parents[1].name, "conversion" in yaml.safe_load(path.read_text())
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


def printed(path, capsys):
    """The whole configuration that the file leads to, as the command prints it."""
    with pytest.raises(SystemExit) as ended:
        main([command_of(path)[0], *arguments(path), "--print_config"])
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
def test_the_command_takes_every_value_and_makes_settings(path, monkeypatch):
    command, problem = command_of(path)
    parser = command_parser(command)[1]
    read = []
    build = parser.instantiate
    monkeypatch.setattr(
        parser, "instantiate", lambda values: read.append(parser.dump(values, skip_unset=False)) or build(values)
    )
    parsed = parser.parse_args(arguments(path))
    assert differing(yaml.safe_load(path.read_text()), yaml.safe_load(read[0])) == []
    assert parsed.problem.name == problem
    if command == "sweep":
        sweep = settings_from(parsed, SweepSettings)
        assert len([sweep.settings_of(work) for work in sweep.conversions()]) >= len(sweep.variants)


def test_configurations_for_speech_are_swept_over_as_well():
    configurations = [f"--config={RECIPES / 'open-2mix' / 'conf' / name}.yaml" for name in ("small", "ptl")]
    parsed = command_parser("sweep")[1].parse_args([*REQUIRED["sweep", "speech"], *configurations, "--out=o"])
    sweep = settings_from(parsed, SweepSettings)
    assert (sweep.optimiser.name, sweep.conversion.optimiser, sweep.problem.data.epoch_mixtures) == ("muon", "muon", 5000)
    assert len(list(sweep.conversions())) == 30


@pytest.mark.parametrize("name", ["open-2mix/conf/ptl-4", "imagenet/conf/ann", "mnist/conf/preset"])
def test_the_command_prints_what_it_takes(name, capsys):
    path = RECIPES / f"{name}.yaml"
    assert differing(yaml.safe_load(path.read_text()), printed(path, capsys)) == []


def test_a_value_that_there_is_none_of_is_refused(tmp_path, capsys):
    path = tmp_path / "open-2mix" / "conf" / "wrong.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("optimiser: {speed: 9}\n")
    with pytest.raises(AssertionError, match="speed"):
        printed(path, capsys)
