"""Problems by name. A new one is a module with its class, and a line here."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from separator.errors import UserError
from separator.models.card import find_model, read_card, split_steps


@dataclass(frozen=True)
class Entry:
    """Place of a problem; nothing is imported before it is wanted."""

    place: str  # MODULE:CLASS
    architecture: str  # of its networks' cards
    scored_on: Literal["mixtures", "items"]  # what `separator evaluate` scores networks on: all at once, or one by one

    def load(self) -> type[Any]:
        """The class, a `Problem`."""
        module, _, name = self.place.partition(":")
        found: type[Any] = getattr(import_module(module), name)
        return found


PROBLEMS = {
    "speech": Entry("separator.tasks.problems.speech:Speech", "tasnet", "mixtures"),
    "images": Entry("separator.tasks.problems.images:Images", "feedforward", "items"),
}
DEFAULT = "speech"


def entry_named(name: str) -> Entry:
    """Entry of a problem.

    Raises:
        UserError: there is none of this name.
    """
    if name not in PROBLEMS:
        raise UserError(f"there is no problem '{name}'; take {' or '.join(PROBLEMS)}")
    return PROBLEMS[name]


def problem_of_model(model: str) -> str | None:
    """Name of the problem that a model, MODEL or MODEL@WINDOW, was trained for; None where it cannot be told."""
    try:
        architecture = read_card(find_model(split_steps(model)[0])).architecture
    except UserError:
        return None  # whoever loads it says what is wrong
    return next((name for name, entry in PROBLEMS.items() if entry.architecture == architecture), None)
