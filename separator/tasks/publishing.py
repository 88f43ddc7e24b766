"""Model files to be shipped: with measured scores in their card."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from separator.errors import UserError
from separator.models import load_model, save_model
from separator.models.format.text import shown


def publish(
    model: Path,
    folder: Path,
    scored: tuple[Path, str] | None = None,
    window: int | None = None,
    description: str | None = None,
    bf16: bool = False,
) -> Path:
    """Copy a model file to `folder`, by the name in its card and with the scores of an evaluation.

    Args:
        model: the model file.
        folder: where to put it.
        scored: folder of an evaluation, with `summary.json`, and what the model was called there; None for no new scores.
        window: of a spiking model, if others than its own; the ones that it was scored with.
        description: one line, if another than its own.
        bf16: round the weights of an analog network to bfloat16, so that the file has half of the size.

    Raises:
        UserError: the model, its name or the results cannot be used, the system was not scored, or a spiking network, whose
            numbers are integers, shall be rounded.
    """
    loaded = load_model(model, window=window)
    if bf16 and loaded.card.kind == "snn":
        raise UserError(f"{model} is a spiking network, of integers; leave out --bf16")
    if not loaded.card.name or Path(loaded.card.name).name != loaded.card.name:
        raise UserError(
            f"the name in the card of {model}, '{shown(loaded.card.name)}', is no name of a file; train it anew as one"
        )
    scores = dict(loaded.card.scores)
    if scored is not None:
        scores |= _means(scored[0] / "summary.json", scored[1])
    card = replace(loaded.card, scores=scores, description=description or loaded.card.description)
    path = folder / f"{card.name}.safetensors"
    save_model(path, loaded.network, card, torch.bfloat16 if bf16 else None)
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
