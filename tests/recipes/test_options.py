"""What all recipes do with their options."""

import subprocess

import pytest

from tests.recipes.running import RECIPES, run


@pytest.mark.parametrize("recipe", ["open-2mix", "wsj0-2mix"])
@pytest.mark.parametrize("options", [("--nonsense", "1"), ("--stage", "x"), ("--jobs", ""), ("stray",)])
def test_wrong_options_end_it(recipe, options):
    status, error = run(recipe, *options)
    assert status == 1
    assert error.startswith("run.sh: error: ")


@pytest.mark.parametrize(
    "recipe", ["open-2mix", "wsj0-2mix", "mnist-autoencoder", "mnist", "cifar10", "double-threshold", "hybrid-stdb"]
)
def test_help_tells_the_options(recipe):
    text = subprocess.run(["bash", RECIPES / recipe / "run.sh", "--help"], capture_output=True, text=True, check=True).stdout
    script = (RECIPES / recipe / "run.sh").read_text()
    defaults = script[script.index("\nrecipe=") : script.index("\n. ")].split()
    names = {line.split("=")[0].replace("_", "-") for line in defaults if "=" in line and line[0].islower()} - {"recipe"}
    assert {name for name in names if f"--{name}" not in text} == set()
