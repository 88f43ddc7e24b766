"""The code of the README and the guides: Python and `separate` are run, what takes hours is parsed by the commands' parsers."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest
import soundfile

from separator.cli import separate
from separator.cli.main import command_parser
from separator.cli.options.arguments import named as name_and_value
from separator.models import list_models
from separator.models.card import SHIPPED
from separator.tasks.benchmark.sweeps.plan import Sweep
from separator.tasks.benchmark.sweeps.settings import parse_settings
from tests.egs.pages import PAGES, PROJECT, code_blocks, commands, named, options_of
from tests.recipes.test_configurations import REQUIRED

SHELL = [(page, command) for page in PAGES for command in commands(page)]
PIPELINES = list({command.words: command for _, command in SHELL if "separate" in command.words and command.piped}.values())
SOUND = [page for page in PAGES if any("separate" in command.words for command in commands(page))]
# What a recipe hands on to which commands.
SPEECH = {"train-options": ["train"], "convert-options": ["convert"], "tune-options": ["train"]}
IMAGES = {"options": ["train", "convert"], "train-options": ["train"], "convert-options": ["convert"]}
HANDED_ON = {
    "open-2mix/run.sh": ("speech", SPEECH),
    "open-2mix/methods.sh": ("speech", SPEECH),
    "open-2mix/tables.sh": ("speech", {}),
    "open-2mix/variants.sh": ("speech", {"train-options": ["train"]}),
    "wsj0-2mix/run.sh": ("speech", SPEECH),
    "mnist/run.sh": ("images", {"options": ["sweep"]}),
    "mnist-autoencoder/run.sh": ("images", {"options": ["sweep"]}),
    "cifar10/run.sh": ("images", {"options": ["sweep"]}),
    "cifar10/depth.sh": ("images", {"options": ["train", "convert"], "convert-options": ["convert"]}),
    "imagenet/run.sh": ("images", IMAGES),
    "double-threshold/run.sh": ("images", {"options": ["train"], "spiking-options": ["convert"]}),
    "hybrid-stdb/run.sh": (
        "images",
        {
            "options": ["train"],
            "spiking-options": ["convert"],
            "convert-options": ["convert"],
            "tune-options": ["train"],
        },
    ),
}
STAND_INS = {"arecord": "cat mix.wav", "ffmpeg": "cat mix.wav", "aplay": "cat >heard.wav"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what the guides speak of, half a second of it, to be worked in."""
    wave, rate = soundfile.read(PROJECT / "egs" / "demo" / "mix.wav", frames=4000)
    (tmp_path / "recordings").mkdir()
    for name in ("mix.wav", "talk.flac", "recordings/monday.wav"):
        soundfile.write(tmp_path / name, wave, rate)
    (tmp_path / "pipe").write_bytes((wave * 32767).astype("<i2").tobytes())
    (tmp_path / "bin").mkdir()
    for name, script in STAND_INS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if code_blocks(page, "python")], ids=named)
def test_python_runs(page, place):
    names = {"__name__": "guide"}
    for block in code_blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)
    if "sources" in names:
        assert names["sources"].shape[0] == 2
    if "spiking" in names:
        assert names["analog"] > 0.95 and names["spiking"] > 0.95


@pytest.mark.parametrize("page", SOUND, ids=named)
def test_separate_runs(page, place, monkeypatch, capfd):
    for command in commands(page):
        if command.words[0] != "separate" or command.piped:
            continue
        for path in (Path(word) for word in command.words if word.endswith(".safetensors")):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SHIPPED / "small-ann.safetensors", path)
        arguments, streams = command.redirected()
        with writes_sound(place, command), monkeypatch.context() as patched, ExitStack() as opened:
            for sign, name, mode in (("<", "stdin", "r"), (">", "stdout", "w")):
                if sign in streams:
                    patched.setattr(sys, name, opened.enter_context(Path(streams[sign]).open(mode)))
            assert separate.entry(arguments[1:]) == 0, (command.line, capfd.readouterr().err)


@pytest.mark.parametrize("command", PIPELINES, ids=lambda command: command.words[0])
def test_pipelines_run(command, place):
    environment = os.environ | {"PATH": f"{place / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with writes_sound(place, command):
        subprocess.run(["bash", "-euo", "pipefail", "-c", command.line], check=True, env=environment)


@contextmanager
def writes_sound(place, command):
    """What runs within writes files, each with half a second of sound; or none where models are listed."""
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    yield
    changed = [path for path in place.rglob("*") if path.is_file() and before.get(path) != path.stat().st_mtime_ns]
    assert bool(changed) != ("--list-models" in command.words), command.line
    assert all(path.stat().st_size >= 8000 for path in changed), command.line


@pytest.mark.parametrize(("page", "command"), SHELL, ids=lambda value: named(value) or " ".join(value.words)[:60])
def test_commands_are_ones_that_there_are(page, command, monkeypatch):
    monkeypatch.chdir(PROJECT)
    words = command.words
    if words[0] == "separator":
        check_separator(words[1], words[2:])
    elif words[0].startswith("recipes/"):
        check_recipe(words)
    elif words[:2] == ("pip", "install"):
        extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert re.fullmatch(r"\.(\[[\w,]+\])?", words[2])
        assert set(words[2].strip(".[]").split(",")) - {""} <= set(extras)
    elif words[0] in ("bash", "pytest"):
        assert all((PROJECT / word).exists() for word in words[1:] if "/" in word)
    elif words[0] == "python":
        place = words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1]
        assert (PROJECT / place).exists()
    elif words[0] in ("apt-get", "ln"):
        assert words[-1] in ("dataset-fashion-mnist", "DIR/fashion-mnist")
    else:  # run by the test above, or there once the environment is installed
        assert "separate" in words or words == (".", ".venv/bin/activate")


def check_separator(name, arguments):
    """Parse a command's arguments, and what they name; `--help` ends it well."""
    parser = command_parser(name)[1]
    if "--help" in arguments:
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(arguments)
        assert ended.value.code == 0
        return
    parsed = parser.parse_args(list(arguments))
    if name == "evaluate":
        models = [name_and_value(text)[1].partition("@")[0] for text in parsed.model]
        assert {model for model in models if "/" not in model} <= {card.name for card in list_models()}
    if name == "bench":
        assert [Sweep.parse(text) for text in parsed.sweep] and parse_settings(parsed.at or []) is not None


def check_recipe(words):
    """Have the script itself read the options (it stops at --help behind them), and the commands those that it hands on."""
    run = subprocess.run(["bash", *words, "--help"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    problem, handed_on = HANDED_ON[words[0].removeprefix("recipes/")]
    for option, names in handed_on.items():
        for name in names:
            check_handed_on(name, problem, options_of(words).get(option, ""))


@cache
def check_handed_on(name, problem, options):
    """Parse what a recipe hands on to a command; many hand on the same, or nothing."""
    command_parser(name)[1].parse_args([f"--problem={problem}", *REQUIRED[name, problem], "--out=o", *options.split()])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("separator train --data.train a --data.dev b --out o --optimiser.speed 1", "speed"),
        ("separator train --config recipes/open-2mix/conf/none.yaml --data.train a --data.dev b --out o", "none.yaml"),
        ("separator mix --corpus a --list b --shuffle", "--shuffle"),
        ("recipes/mnist/run.sh --data a --options '--optimiser.speed 1'", "speed"),
    ],
)
def test_a_mistake_in_a_page_would_be_found(line, told, monkeypatch, capsys):
    words = tuple(shlex.split(line))
    monkeypatch.chdir(PROJECT)
    with pytest.raises(SystemExit):
        check_separator(words[1], words[2:]) if words[0] == "separator" else check_recipe(words)
    assert told in capsys.readouterr().err


def test_an_option_that_a_recipe_has_not_would_be_found():
    with pytest.raises(AssertionError, match="unknown option --nonsense"):
        check_recipe(("recipes/open-2mix/run.sh", "--nonsense", "1"))
