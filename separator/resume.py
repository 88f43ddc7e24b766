"""A run that is gone on with is the same run: what it depends on is kept beside it, and compared."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from separator.errors import UserError

NAMED = 3  # differences that a message names


def facts_of(settings: Any, free: Collection[str] = ()) -> dict[str, Any]:
    """Flat plain values of settings, by dotted names.

    Args:
        settings: a dataclass, of dataclasses.
        free: names that may differ from call to call, with all that is under them.
    """
    assert is_dataclass(settings) and not isinstance(settings, type)
    found: dict[str, Any] = {}
    _collect(asdict(settings), "", found)
    return {name: value for name, value in found.items() if not any(f"{name}.".startswith(f"{one}.") for one in free)}


def _collect(values: Mapping[str, Any], prefix: str, found: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _collect(value, f"{prefix}{name}.", found)
        else:
            found[prefix + name] = _plain(value)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def refuse_differences(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Say where a run that is to be gone on with was another one.

    Args:
        before: facts that were kept.
        now: those of today; what only one of the two has is of another version, and no difference.
        folder: of the run.

    Raises:
        UserError: they differ; the message names the first differences.
    """
    differing = [name for name in now if name in before and before[name] != now[name]]
    if differing:
        named = ", ".join(f"{name} was {before[name]} and is {now[name]}" for name in differing[:NAMED])
        more = f" and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
        raise UserError(f"{folder} holds a run with other settings ({named}{more}); go on with those, or take another folder")
