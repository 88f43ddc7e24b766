"""`separate --list-models`."""

import json
from typing import Any


def list_models(as_json: bool) -> int:
    """Print the shipped models, from the headers of their files."""
    from separator import models

    cards = models.list_models()
    if as_json:
        fields = ("name", "kind", "sample_rate", "n_src", "window", "description", "scores")
        print(json.dumps([{field: getattr(card, field) for field in fields} for card in cards]))
        return 0
    for card in cards:
        default = " (default)" if card.name == models.DEFAULT_MODEL else ""
        steps = "" if card.window is None else f", {card.window} time steps"
        print(f"{card.name}{default}: {card.description}")
        print(f"    {card.kind}, {card.n_src} talkers, {card.sample_rate} Hz{steps}")
        scores = [f"{name} {_short(score)}" for name, score in card.scores.items() if not isinstance(score, (list, dict))]
        if scores:  # but for curves and tables, which --json has
            print("    " + ", ".join(scores))
    return 0


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
