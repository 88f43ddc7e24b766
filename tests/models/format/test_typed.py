from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from separator.models.format.text import all_printable, printable, shown
from separator.models.format.typed import check_type, made_of


@dataclass(frozen=True)
class Made:
    count: int
    share: float = 0.5
    kind: Literal["a", "b"] = "a"
    places: tuple[int, ...] = ()
    rows: list[dict[str, float]] = field(default_factory=list)
    limit: int | None = None
    rest: dict[str, Any] = field(default_factory=dict)


def test_values_of_the_types_declared():
    values = {"count": 3, "share": 1, "kind": "b", "places": [1, 2], "rows": [{"x": 0.5}], "limit": None, "rest": {"y": [None]}}
    assert made_of(Made, values) == Made(3, 1, "b", [1, 2], [{"x": 0.5}], None, {"y": [None]})


@pytest.mark.parametrize(
    "values, message",
    [
        ({}, "count is missing"),
        ({"count": 1, "other": 2}, "'other' is unknown"),
        ({"count": True}, "count is a whole number, not True"),
        ({"count": 2.0}, "count is a whole number, not 2.0"),
        ({"count": 10**400}, "count is a whole number, not 10{196}\\.\\.\\.$"),
        ({"count": 1, "share": float("nan")}, "share is a number, not nan"),
        ({"count": 1, "share": float("inf")}, "share is a number, not inf"),
        ({"count": 1, "share": "0.5"}, "share is a number, not 0.5"),
        ({"count": 1, "kind": "c"}, "kind is 'a' or 'b', not c"),
        ({"count": 1, "kind": ["a"]}, "kind is 'a' or 'b'"),
        ({"count": 1, "places": 4}, "places is a list, each a whole number, not 4"),
        ({"count": 1, "places": [1, None]}, "places is a list"),
        ({"count": 1, "rows": [{"x": "y"}]}, "rows is a list, each a mapping"),
        ({"count": 1, "limit": "\x1b"}, r"limit is a whole number or null, not \\x1b$"),
        ({"count": 1, "rest": []}, "rest is a mapping"),
    ],
)
def test_values_of_other_types(values, message):
    with pytest.raises(ValueError, match=message):
        made_of(Made, values)


def test_whole_numbers_have_an_end():
    check_type("x", 2**53, float)
    with pytest.raises(ValueError, match="x is a number"):
        check_type("x", 2**53 + 1, float)


@given(st.text())
def test_printable_text_is_printable_and_stays_so(text):
    made = printable(text)
    assert made.isprintable() and printable(made) == made
    assert made == text or not text.isprintable()


def test_what_is_shown_has_one_short_line():
    assert shown("a\nb") == r"a\nb" and shown(None) == "None"
    assert shown("x" * 1000) == "x" * 197 + "..."


def test_nesting_has_an_end():
    deep: Any = 1
    for _ in range(16):
        deep = [deep]
    assert all_printable(deep) == deep
    with pytest.raises(ValueError, match="nested more than 16 deep"):
        all_printable({"x": deep})
