"""Values from a file, held against the types that dataclasses declare."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from separator.models.format.text import shown

Made = TypeVar("Made")
LARGEST_WHOLE = 2**53  # as far as every reader of JSON keeps whole numbers
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null", dict: "a mapping"}


def made_of(cls: type[Made], values: Mapping[str, Any]) -> Made:
    """A dataclass of the values, each of which is of the type that its field declares.

    Raises:
        ValueError: a value is missing, of another type or of no field; or the class refuses it.
    """
    hints, known = get_type_hints(cls), {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"'{shown(name)}' is unknown")
        check_type(name, value, hints[name])
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{name} is missing")
    return cls(**values)


def check_type(name: str, value: Any, kind: Any) -> None:
    """Hold a value against a type; whole numbers are numbers, lists stand for tuples.

    Raises:
        ValueError: it is of another one, not finite, or too large for a whole number; the message names it.
    """
    if not _is(value, kind):
        raise ValueError(f"{name} is {_words(kind)}, not {shown(value)}")


def _is(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_is(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and all(_is(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is(item, inner[1]) for item in value.values())
    if kind is float:
        return _is(value, int) or (type(value) is float and math.isfinite(value))
    return type(value) is kind and (kind is not int or abs(value) <= LARGEST_WHOLE)


def _words(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_words(one) for one in inner)
    if origin is Literal:
        return " or ".join(f"'{one}'" for one in inner)
    if origin in (list, tuple):
        return f"a list, each {_words(inner[0])}"
    return KINDS.get(origin or kind, "a value")
