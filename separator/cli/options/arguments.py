"""Arguments that several commands take."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from separator.errors import UserError
from separator.ranges import FASTEST, SLOWEST


def named(text: str) -> tuple[str, str]:
    """Name and value of `NAME=VALUE`; a value alone is named by its last part, without suffix.

    Raises:
        UserError: one of them is empty, or the name is not fit for a file's or for a column of a table.
    """
    name, equals, value = text.partition("=")
    if not equals:
        name, value = Path(text).stem, text
    if not name or not value or "/" in name or name in (".", ".."):
        raise UserError(f"expected NAME=VALUE, not {text!r}")
    if "|" in name or not name.isprintable():
        raise UserError(f"the name {name!r} would break tables apart; give another one, NAME={value}")
    return name, value


def apart(texts: Iterable[str]) -> dict[str, str]:
    """Values of several `NAME=VALUE` by name.

    Raises:
        UserError: as `named`, or two have one name.
    """
    pairs = [named(text) for text in texts]
    names = [name for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"two are called {twice}; give each a name of its own, NAME=...")
    return dict(pairs)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """A whole number of at least 0."""
    return _at_least(0, text)


def sample_rate(text: str) -> int:
    """A rate of sound in Hz, which 8, meant as kHz, is not."""
    rate = int(text)
    if not SLOWEST <= rate <= FASTEST:
        raise argparse.ArgumentTypeError(f"a sample rate is {SLOWEST} to {FASTEST} Hz, not {rate}")
    return rate


def _at_least(least: int, text: str) -> int:
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}")
    return number
