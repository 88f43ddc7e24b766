"""Networks whose training is timed, and how many mixtures, and how long ones, a step of it takes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from separator.errors import UserError
from separator.tasks.benchmark.systems import parse_system

if TYPE_CHECKING:
    from separator.models.tasnet import TasNetConfig


@dataclass(frozen=True)
class Recipe:
    """Size of a training step."""

    batch: int  # mixtures
    segment: float  # s, of each


# As recipes/open-2mix/conf/NAME.yaml has them.
RECIPES = {"small": Recipe(8, 2.0), "medium": Recipe(8, 3.0), "paper": Recipe(16, 4.0)}


def recipe_of(system: str) -> Recipe:
    """The recipe of `NAME` or, to learn in bfloat16, `bf16:NAME`.

    Raises:
        UserError: there is none.
    """
    backend, name, steps = parse_system(system)
    if backend not in ("", "bf16") or steps is not None or name not in RECIPES:
        raise UserError(f"training is timed of {', '.join(RECIPES)}, each also as bf16:NAME, not of '{system}'")
    return RECIPES[name]


def network_sizes(name: str, width: int | None = None) -> "TasNetConfig":
    """Sizes of a network by its name in `RECIPES`, of other filters and channels if a width is given."""
    from separator.models import tasnet

    config = {"small": tasnet.small, "medium": tasnet.medium, "paper": tasnet.paper}[name]()
    return config if width is None else replace(config, filters=width, channels=width)


def in_precisions(systems: Iterable[str]) -> list[str]:
    """All of these and, where the processor multiplies bfloat16, each also in it; it takes long where that is emulated."""
    from separator.tasks.devices import native_precision

    native = native_precision("cpu") == "bf16-mixed"
    wanted = [(system, *([f"bf16:{system}"] if native and ":" not in system else [])) for system in systems]
    return list(dict.fromkeys(system for group in wanted for system in group))
