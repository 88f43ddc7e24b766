from pathlib import Path

import pytest
import yaml

from separator.errors import UserError
from separator.models.tasnet import TasNetConfig
from separator.tasks import devices
from separator.tasks.benchmark.training.recipes import RECIPES, in_precisions, network_sizes, recipe_of

CONF = Path(__file__).parents[4] / "recipes" / "open-2mix" / "conf"


@pytest.mark.parametrize("name", RECIPES)
def test_sizes_are_those_of_the_recipes(name):
    conf = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert (recipe_of(name).batch, recipe_of(f"bf16:{name}").segment) == (conf["data"]["batch"], conf["data"]["segment"])
    sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in conf.get("network", {}).items()}
    assert network_sizes(name) == TasNetConfig(**sizes)
    assert network_sizes(name, 12) == TasNetConfig(**sizes | {"filters": 12, "channels": 12})


@pytest.mark.parametrize("system", ["small-ann", "dense:small", "small@4", "bf16:paper-ann"])
def test_what_has_no_recipe_is_refused(system):
    with pytest.raises(
        UserError, match=f"training is timed of small, medium, paper, each also as bf16:NAME, not of '{system}'"
    ):
        recipe_of(system)


def test_bfloat16_is_measured_where_it_is_multiplied_or_asked_for(monkeypatch):
    for native, expected in (
        ("bf16-mixed", ["small", "bf16:small", "bf16:paper", "medium", "bf16:medium"]),
        ("32-true", ["small", "bf16:small", "bf16:paper", "medium"]),
    ):
        monkeypatch.setattr(devices, "native_precision", lambda accelerator, found=native: found)
        assert in_precisions(["small", "bf16:small", "bf16:paper", "medium"]) == expected
