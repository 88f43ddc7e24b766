"""Results of an evaluation, read again, and whether they are those of a model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from separator.errors import UserError
from separator.tasks.fingerprints import network_fingerprint

if TYPE_CHECKING:
    from separator.models import SeparationModel

SUMMARY = "summary.json"
TABLES = ("summary", "operations", "networks")  # parts of it; earlier versions wrote no networks


def read_results(folder: Path) -> dict[str, Any]:
    """Results of an evaluation, from its folder.

    Raises:
        UserError: they cannot be read, or are not those of an evaluation on mixtures.
    """
    path = folder / SUMMARY
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the scores in {path}: {error}") from error
    if not isinstance(results, dict) or not all(_is_table(results.get(name, {})) for name in TABLES):
        raise UserError(f"{path} is damaged, or not of `separator evaluate` on mixtures; evaluate again")
    return results


def _is_table(part: Any) -> bool:
    """Whether it is a mapping of mappings, as of conditions to systems."""
    return isinstance(part, dict) and all(isinstance(one, dict) for one in part.values())


def identity(model: "SeparationModel") -> dict[str, str | int | None]:
    """What tells a network from others: its fingerprint, and the time steps of a spiking one."""
    return {"fingerprint": network_fingerprint(model.network), "window": model.card.window}


def is_of(results: Mapping[str, Any], system: str, model: "SeparationModel") -> bool:
    """Whether an evaluation's system can be this model; one by an earlier version tells its time steps alone."""
    known = results.get("networks", {}).get(system)
    if known is not None:
        return bool(known == identity(model))
    windows = {systems[system]["window"] for systems in results.get("operations", {}).values() if system in systems}
    return windows == ({model.card.window} - {None})
