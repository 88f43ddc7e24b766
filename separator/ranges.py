"""Ranges of settings, looked at where settings are made: a wrong one is told before any work."""

from dataclasses import fields
from typing import Any

from separator.errors import UserError

MOST = 10**9  # of what has no limit of its own
SLOWEST, FASTEST = 100, 10_000_000  # Hz, of sound; what lies beyond is a mistake, and would take all memory


def check_numbers(settings: object, **ranges: tuple[float, float]) -> None:
    """Refuse numbers that are out of their range, or no numbers; None, which stands for no number, is none of these.

    Args:
        settings: what has them as attributes: numbers, or lists of numbers.
        **ranges: least and most of each, by name; whole numbers where both are.

    Raises:
        UserError: one is; the message names it.
    """
    for name, (least, most) in ranges.items():
        given = getattr(settings, name)
        for value in given if isinstance(given, list | tuple) else [given]:
            if value is not None and not _is_within(value, least, most):
                kind = "a whole number" if isinstance(least, int) and isinstance(most, int) else "a number"
                raise UserError(f"{name} is {kind} of at least {_plain(least)}{_up_to(most, value)}, not {value}")


def check_flags(settings: Any) -> None:
    """Refuse what is neither true nor false where the default of a dataclass is one of them.

    Raises:
        UserError: a value is; the message names it.
    """
    for field in fields(settings):
        if isinstance(field.default, bool) and not isinstance(getattr(settings, field.name), bool):
            raise UserError(f"{field.name} is true or false, not {getattr(settings, field.name)!r}")


def is_whole(value: object) -> bool:
    """True of whole numbers, which truth values are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """True of numbers, which truth values are not."""
    return is_whole(value) or isinstance(value, float)


def _is_within(value: Any, least: float, most: float) -> bool:
    kind = is_whole if isinstance(least, int) and isinstance(most, int) else is_number
    return kind(value) and least <= value <= most  # nor NaN, which compares with nothing


def _up_to(most: float, value: Any) -> str:
    told = most != MOST or (is_number(value) and value > most)
    return f" and at most {_plain(most)}" if told else ""


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
