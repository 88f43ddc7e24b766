"""Choices by name: what a seam of the engine can be filled with. A new choice is one entry, made from anywhere."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from separator.errors import UserError

Choice = TypeVar("Choice")


class Registry(Generic[Choice]):
    """Choices of one kind.

    Args:
        kind: what they are, for messages.
        choices: the first ones.
    """

    def __init__(self, kind: str, choices: Mapping[str, Choice]) -> None:
        self.kind, self._choices = kind, dict(choices)

    def register(self, name: str, choice: Choice) -> Choice:
        """Add a choice, or put another one in the place of that name; gives it back."""
        self._choices[name] = choice
        return choice

    def pick(self, name: str) -> Choice:
        """The choice of a name.

        Raises:
            UserError: there is none; the message lists the names.
        """
        if name not in self._choices:
            raise UserError(f"there is no {self.kind} '{name}'; take one of {', '.join(self._choices)}")
        return self._choices[name]

    def items(self) -> list[tuple[str, Choice]]:
        """Names and choices, in the order in which they were added."""
        return list(self._choices.items())


def made_by(registry: Registry[Callable[..., Choice]], name: str, options: Mapping[str, float]) -> Choice:
    """What the choice of a name makes from options, plain numbers by name.

    Raises:
        UserError: there is no such choice, or it has no such option.
    """
    make = registry.pick(name)
    try:
        return make(**options)
    except TypeError as error:
        raise UserError(f"the {registry.kind} '{name}' does not take the options {dict(options)}: {error}") from error
