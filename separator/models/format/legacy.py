"""Files of earlier formats, told in the words of the present one."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

OLDEST = 2  # format that is still read

Value = TypeVar("Value")

# Format 2 said stage for layer, start for initial potential, step for quantum, and quantiser for an activation that is one.
_LAYER = re.compile(r"stack\.stages\.(\d+)\.")
_NUMBERS = {"start": "initial_potential", "step": "quantum"}


def present_names(named: Mapping[str, Value], file_format: int) -> Mapping[str, Value]:
    """Tensors, or what is said of them, by the names that they have now.

    Raises:
        ValueError: two of them come to have the same name.
    """
    if file_format > OLDEST:
        return named
    renamed = {_present(name): value for name, value in named.items()}
    if len(renamed) != len(named):
        raise ValueError("a tensor is there twice, by an old name and by its present one")
    return renamed


def present_card(values: dict[str, Any], file_format: int) -> dict[str, Any]:
    """Bring a card into present words."""
    conversion = values.get("conversion")
    if file_format > OLDEST or not isinstance(conversion, dict) or "start" not in conversion:
        return values
    return values | {"conversion": {_NUMBERS.get(name, name): value for name, value in conversion.items()}}


def _present(name: str) -> str:
    if not _LAYER.match(name):
        return name
    head, _, last = _LAYER.sub(r"stack.layers.\1.", name).rpartition(".")
    head = head.replace(".quantiser", ".activation")
    return f"{head}.{_NUMBERS.get(last, last) if head.count('.') == 2 else last}"
