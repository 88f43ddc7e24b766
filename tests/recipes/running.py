"""Recipes run as a user runs them, small."""

import os
import subprocess
import sys
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "recipes"

# Options of separation recipes: a small network that learns a little.
SMALL = "--model.filters 32 --model.filter_length 16 --model.channels 8 --model.dilations [1,2]"
SHORT = "--data.segment 0.5 --data.batch 4 --data.workers 0 --data.epoch_mixtures 8 --data.dev_mixtures 4"
MACHINE = "--optimiser.max_epochs 1 --machine.accelerator cpu --machine.devices 1 --machine.threads 1"


def run(recipe, *options, commands=Path(sys.executable).parent):
    """Run a recipe in this environment, or with the commands of another folder; returns its exit status and error output."""
    environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"}
    command = ["bash", RECIPES / recipe / "run.sh", *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return result.returncode, result.stderr
