"""Arguments that several commands take."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from separator.errors import UserError

if TYPE_CHECKING:
    from separator.models import SeparationModel


def named(text: str) -> tuple[str, str]:
    """Name and value of `NAME=VALUE`; a value alone is named by its last part, without suffix.

    Raises:
        UserError: one of them is empty, or the name is not fit for a file's.
    """
    name, equals, value = text.partition("=")
    if not equals:
        name, value = Path(text).stem, text
    if not name or not value or "/" in name:
        raise UserError(f"expected NAME=VALUE, not {text!r}")
    return name, value


def load_named_model(text: str, device: str) -> "tuple[str, SeparationModel]":
    """Name and model of `NAME=MODEL`, or of `NAME=MODEL@WINDOW` for another number of time steps than the model's own.

    Raises:
        UserError: there is no such model, or it cannot have these time steps.
    """
    from separator import models

    name, model = named(text)
    return name, models.load_model(model, device=device)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
