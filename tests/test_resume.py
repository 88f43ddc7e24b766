from dataclasses import dataclass, field
from pathlib import Path

import pytest

from separator.errors import UserError
from separator.resume import differences, facts_of, read_facts, refuse_differences


@dataclass
class Inner:
    size: int = 3
    places: tuple[Path, ...] = (Path("a"), Path("b"))


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)
    inner_too: str = "x"
    rate: float | None = None


@dataclass
class Chosen:
    neuron: str = "leaky"
    options: dict[str, float] = field(default_factory=dict)


def test_facts_are_flat_and_as_json_has_them():
    assert facts_of(Outer()) == {"inner.size": 3, "inner.places": ["a", "b"], "inner_too": "x", "rate": None}


def test_what_is_free_is_left_out_with_all_under_it():
    assert facts_of(Outer(), free=["inner", "rate"]) == {"inner_too": "x"}
    assert facts_of(Outer(), free=["inner.size"]) == {"inner.places": ["a", "b"], "inner_too": "x", "rate": None}


def test_the_same_run_may_go_on(tmp_path):
    refuse_differences(facts_of(Outer()), facts_of(Outer()), tmp_path)
    refuse_differences({"of an older version": 1}, facts_of(Outer()), tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff"])
def test_facts_that_are_damaged(tmp_path, content):
    path = tmp_path / "facts.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path}, which tells what was run there, is damaged; take another folder"):
        read_facts(path)
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory"):
        read_facts(tmp_path)


def test_differences_are_named(tmp_path):
    other = facts_of(Outer(Inner(4, (Path("c"),)), "y", 1.0))
    with pytest.raises(UserError) as caught:
        refuse_differences(facts_of(Outer()), other, tmp_path)
    message = str(caught.value)
    assert "inner.size was 3 and is 4" in message and "and 1 more)" in message and "\n" not in message


def test_options_of_free_names_are_one_fact():
    """Those that only one of two runs has are a difference, not of another version."""
    none, one, two = (facts_of(Outer(Chosen(options=given))) for given in ({}, {"leak": 0.5}, {"leak": 0.5, "delayed": 1}))
    assert one == {"inner.neuron": "leaky", "inner.options": {"leak": 0.5}, "inner_too": "x", "rate": None}
    for before, now in ((none, one), (one, none), (one, two), (two, one)):
        assert differences(before, now) == [("inner.options", before["inner.options"], now["inner.options"])]
        assert not differences(before, before)


def test_options_that_an_earlier_version_kept_by_names_of_their_own_are_compared():
    flat = {"inner.neuron": "leaky", "inner.options.leak": 0.5, "inner_too": "x"}
    assert not differences(flat, facts_of(Outer(Chosen(options={"leak": 0.5}))))
    found = differences(flat, facts_of(Outer(Chosen(options={"leak": 0.25}))))
    assert found == [("inner.options", {"leak": 0.5}, {"leak": 0.25})]
    assert differences({"inner.neuron": "leaky"}, facts_of(Outer(Chosen(options={"leak": 0.25}))))
