"""Recipes run as a user runs them, small."""

import os
import subprocess
import sys
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "recipes"

# Options of separation recipes: a small network that learns a little.
SMALL = "--network.filters 32 --network.filter_length 16 --network.channels 8 --network.dilations [1,2]"
SHORT = "--data.segment 0.5 --data.batch 4 --data.workers 0 --data.epoch_mixtures 8 --data.dev_mixtures 4"
MACHINE = "--optimiser.max_epochs 1 --device cpu --threads 1 --machine.devices 1"


def run(recipe, *options, commands=Path(sys.executable).parent):
    """Run a recipe in this environment, or with the commands of another folder; returns its exit status and error output."""
    environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"}
    command = ["bash", RECIPES / recipe / "run.sh", *map(str, options)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return result.returncode, result.stderr
