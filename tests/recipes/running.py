"""Recipes run as a user runs them, small."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "recipes"
SHARED = "SEPARATOR_TESTS_COMMAND"
BLANK = "SEPARATOR_TESTS_BLANK_PICTURES"  # in the environment of a recipe whose pictures are not rendered

# Options of separation recipes: a small network that learns a little.
SMALL = "--network.filters 32 --network.filter_length 16 --network.channels 8 --network.dilations [1,2]"
SHORT = "--data.segment 0.5 --data.batch 4 --data.workers 0 --data.epoch_mixtures 8 --data.dev_mixtures 4"
MACHINE = "--optimiser.max_epochs 1 --device cpu --threads 1 --machine.devices 1"


@cache
def server() -> subprocess.Popen[str]:
    """Process that answers the calls of `quick_command` as long as this one lives, which holds its input open."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.recipes.command_server"],
        cwd=RECIPES.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@cache
def quick_command() -> Path:
    """Folder with a command `separator` that starts at once; pytest's workers share one, of the process that started them."""
    if SHARED in os.environ:
        return Path(os.environ[SHARED])
    answers = server().stdout
    assert answers is not None
    return Path(answers.readline().rstrip("\n"))


def put_in_place(stand_in, folder):
    """Make a folder, to be searched for commands, in which the script `stand_in` stands for the command `separator`."""
    folder.mkdir()
    (folder / "separator").write_text(stand_in)
    (folder / "separator").chmod(0o755)


def run_script(script, *options, commands=None, **environment):
    """Run a script of bash, with a stand-in for the command in the folder `commands` if given; returns status and errors."""
    changed = {"PATH": f"{commands or quick_command()}:{os.environ['PATH']}"} | environment
    command = ["bash", script, *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | changed)
    return result.returncode, result.stderr


def run(recipe, *options, commands=None, pictures=False):
    """Run a recipe; see `run_script`. Its pictures are blank, unless they are asked for."""
    environment = {} if pictures else {BLANK: "1"}
    return run_script(RECIPES / recipe / "run.sh", *options, commands=commands, **environment)
