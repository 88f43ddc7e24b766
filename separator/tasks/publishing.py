"""Model files to be shipped: with measured scores in their card."""

import json
from dataclasses import replace
from pathlib import Path

from separator.errors import UserError
from separator.models import load_model, save_model


def publish(
    model: Path, results: Path, system: str, folder: Path, time_steps: int | None = None, description: str | None = None
) -> Path:
    """Copy a model file to `folder`, by the name in its card and with the scores of an evaluation.

    Args:
        model: the model file.
        results: folder of an evaluation, with `summary.json`.
        system: what the model was called in the evaluation.
        folder: where to put it.
        time_steps: of a spiking model, if others than its own; the ones that it was scored with.
        description: one line, if another than its own.

    Raises:
        UserError: the model or the results cannot be used, or `system` was not scored.
    """
    loaded = load_model(model, time_steps=time_steps)
    scores = loaded.card.scores | _means(results / "summary.json", system)
    card = replace(loaded.card, scores=scores, description=description or loaded.card.description)
    path = folder / f"{card.name}.safetensors"
    save_model(path, loaded.network, card)
    return path


def _means(path: Path, system: str) -> dict[str, float]:
    """Mean scores, by condition and metric."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))["summary"]
        return {
            f"{condition} {metric}": round(statistic["mean"], 3)
            for condition, systems in summary.items()
            for metric, statistic in systems[system]["overall"].items()
            if statistic["mean"] is not None
        }
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the scores in {path}: {error}") from error
    except KeyError as error:
        raise UserError(f"{path} has no scores of {error}; name a system that was evaluated") from error
