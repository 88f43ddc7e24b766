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


def read_results(folder: Path) -> dict[str, Any]:
    """Results of an evaluation, from its folder.

    Raises:
        UserError: they cannot be read.
    """
    path = folder / SUMMARY
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the scores in {path}: {error}") from error
    return results


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
