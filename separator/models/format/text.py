"""Text that comes from files: nothing in it may reach a terminal as anything but letters."""

from typing import Any

LONGEST_SHOWN = 200  # characters of a message
DEEPEST = 16  # of lists and mappings in one another


def printable(text: str) -> str:
    r"""The text with all that is no letter, mark, number, punctuation or plain space escaped, such as `\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def shown(value: object) -> str:
    """A value for a message: on one line, escaped, cut where it is long."""
    text = printable(value if isinstance(value, str) else repr(value))
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def all_printable(value: Any, depth: int = 0) -> Any:
    """The value, as JSON has them, with all of its texts printable.

    Raises:
        ValueError: lists and mappings are nested more than DEEPEST deep.
    """
    if depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [all_printable(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {printable(name): all_printable(item, depth + 1) for name, item in value.items()}
    return value
