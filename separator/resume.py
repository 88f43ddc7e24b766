"""A run that is gone on with is the same run: what it depends on is kept beside it, and compared."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from separator.errors import UserError

NAMED = 3  # differences that a message names


def facts_of(settings: Any, free: Collection[str] = ()) -> dict[str, Any]:
    """Flat plain values of settings, by dotted names; a mapping, such as the options of a neuron model, is one of them.

    Args:
        settings: a dataclass, of dataclasses.
        free: names that may differ from call to call, with all that is under them.
    """
    assert is_dataclass(settings) and not isinstance(settings, type)
    found = dict(_collected(settings, ""))
    return {name: value for name, value in found.items() if not any(f"{name}.".startswith(f"{one}.") for one in free)}


def _collected(settings: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for own in fields(settings):
        name, value = prefix + own.name, getattr(settings, own.name)
        if is_dataclass(value):
            yield from _collected(value, f"{name}.")
        else:
            yield name, _plain(value)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def read_facts(path: Path) -> dict[str, Any]:
    """Facts that were kept in a file, as JSON.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}, which tells what was run there, is damaged; take another folder") from error
    return facts


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Facts that were others: the name of each, what it was and what it is.

    Args:
        before: facts that were kept.
        now: those of today; what only one of the two has is of another version, and no difference.
    """
    pairs = ((name, _kept(before, name, value), value) for name, value in now.items())
    return [(name, was, value) for name, was, value in pairs if was != value]


def _kept(before: Mapping[str, Any], name: str, value: Any) -> Any:
    """What a fact was, if it is told."""
    if name in before or not isinstance(value, Mapping):
        return before.get(name, value)
    # An earlier version kept each entry of a mapping by a name of its own, and nothing of an empty one.
    return {own.removeprefix(f"{name}."): was for own, was in before.items() if own.startswith(f"{name}.")}


def refuse_differences(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Say where a run that is to be gone on with was another one.

    Args:
        before: facts that were kept; see `differences`.
        now: those of today.
        folder: of the run.

    Raises:
        UserError: they differ; the message names the first differences.
    """
    differing = differences(before, now)
    if differing:
        named = ", ".join(f"{name} was {was} and is {value}" for name, was, value in differing[:NAMED])
        more = f" and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
        raise UserError(f"{folder} holds a run with other settings ({named}{more}); go on with those, or take another folder")
