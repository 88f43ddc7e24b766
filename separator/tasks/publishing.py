"""Model files to be shipped: with measured scores in their card."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from separator.atomic import atomic_path
from separator.errors import UserError
from separator.metrics.table import OVERALL
from separator.models import load_model, save_model
from separator.models.format.text import shown
from separator.tasks.evaluation.mixtures.results import SUMMARY, is_of, read_results
from separator.tasks.fingerprints import network_fingerprint

# Of what `separator evaluate` counts, what a card says for each condition.
COUNTED = ("synaptic_operations_per_second", "replaced_macs_per_second", "synaptic_operations_per_mac", "float_macs_per_second")


def publish(
    model: Path,
    folder: Path,
    scored: tuple[Path, str] | None = None,
    window: int | None = None,
    description: str | None = None,
    bf16: bool = False,
    overwrite: bool = False,
) -> Path:
    """Copy a model file to `folder`, by the name in its card and with the scores of an evaluation.

    The card gets the means of all metrics, "open pesq"; "groups", SI-SDRi in dB by condition and by the talkers' genders and
    pitches; of a spiking network "operations", by condition: how many a second of sound, and the energy in µJ that these take
    with each kind of arithmetic, and the analog network's in their place.

    Args:
        model: the model file.
        folder: where to put it.
        scored: folder of an evaluation, with `summary.json`, and what the model was called there; None for no new scores.
        window: of a spiking model, if others than its own; the ones that it was scored with.
        description: one line, if another than its own.
        bf16: round the weights of an analog network to bfloat16, so that the file has half of the size.
        overwrite: replace a file of this name that holds another network; the same one is written anew in any case.

    Raises:
        UserError: the model, its name or the results cannot be used, the system was not scored or is another network, a
            spiking network, whose numbers are integers, shall be rounded, the scores in the card are of another window, or
            another network is there.
    """
    own = load_model(model)
    loaded = own if window in (None, own.card.window) else load_model(model, window=window)
    if bf16 and loaded.card.kind == "snn":
        raise UserError(f"{model} is a spiking network, of integers; leave out --bf16")
    if scored is None and own.card.scores and loaded is not own:
        raise UserError(
            f"the scores in the card of {model} are of {own.card.window} time steps; give --results and --system for {window}"
        )
    if not loaded.card.name or Path(loaded.card.name).name != loaded.card.name:
        raise UserError(
            f"the name in the card of {model}, '{shown(loaded.card.name)}', is no name of a file; train it anew as one"
        )
    scores = dict(loaded.card.scores)
    if scored is not None:
        results = read_results(scored[0])
        scores |= _scores(results, *scored)
        if not is_of(results, scored[1], loaded):
            raise UserError(f"{scored[1]} in {scored[0]} is not {model} as it is here; name its own system, or evaluate it")
    card = replace(loaded.card, scores=scores, description=description or loaded.card.description)
    path = folder / f"{card.name}.safetensors"
    with atomic_path(path) as made:
        save_model(made, loaded.network, card, torch.bfloat16 if bf16 else None)
        if path.exists() and not overwrite and _weights(path) != _weights(made):
            raise UserError(f"{path} holds another network; --overwrite replaces it, and a model is called by --card.name")
    return path


def _weights(path: Path) -> str:
    return network_fingerprint(load_model(path).network)


def _scores(results: Mapping[str, Any], folder: Path, system: str) -> dict[str, Any]:
    """What an evaluation has of a system, for its card."""
    try:
        scores = {condition: systems[system] for condition, systems in results["summary"].items()}
        reports = {name: systems[system] for name, systems in results.get("operations", {}).items() if system in systems}
        means = {
            f"{condition} {metric}": mean
            for condition, groups in scores.items()
            for metric, mean in _means(groups[OVERALL]).items()
        }
        groups = {condition: _improvements(groups) for condition, groups in scores.items()}
        operations = {condition: _costs(report) for condition, report in reports.items()}
    except KeyError as error:
        raise UserError(f"{folder / SUMMARY} has no scores of {error}; name a system that was evaluated") from error
    except (AttributeError, TypeError) as error:
        raise UserError(f"{folder / SUMMARY} is damaged; evaluate again") from error
    return means | {name: found for name, found in (("groups", groups), ("operations", operations)) if any(found.values())}


def _improvements(groups: Mapping[str, Any]) -> dict[str, float]:
    """SI-SDRi in each group of mixtures that has any."""
    apart = {group: metrics for group, metrics in groups.items() if group != OVERALL}
    return _means({group: metrics["si-sdri"] for group, metrics in apart.items() if "si-sdri" in metrics})


def _means(statistics: Mapping[str, Any]) -> dict[str, float]:
    """Those that exist, to three decimals."""
    return {name: round(found["mean"], 3) for name, found in statistics.items() if found["mean"] is not None}


def _costs(report: Mapping[str, Any]) -> dict[str, Any]:
    """Operations and energy of a second of sound, to four digits."""
    energy = {
        row["arithmetic"]: {network: _short(row[f"{network}_uj_per_second"]) for network in ("ann", "snn")}
        for row in report["energy"]
    }
    return {name: _short(report[name]) for name in COUNTED} | {"energy_uj_per_second": energy}


def _short(value: float) -> float:
    return float(f"{value:.4g}")
