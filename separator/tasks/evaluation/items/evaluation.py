"""Networks for images scored on the test images, side by side: accuracy or error, spikes, operations, energy."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from separator.atomic import make_folder, write_csv, write_text
from separator.errors import UserError
from separator.images.labelled import Images, ImageSet
from separator.metrics import intervals
from separator.metrics.energy import MAC_COST, energy_ratio, relative_cost
from separator.models.card import Goal, ModelCard
from separator.models.feedforward import FeedForward
from separator.models.files import load_network
from separator.snn.observe.activity import Activity, record_activity
from separator.tasks.devices import resolve_device
from separator.tasks.problems.image_data import ImageBatches, ImageSettings
from separator.tasks.images.fit import check_fit
from separator.tasks.problems.reconstructions import draw_reconstructions
from separator.tasks.evaluation.items.report import Figures, ImageReport, ImageResult, LayerFigures

COUNTED = 1000  # test images that the ratio of operations by itself is counted on
COUNTED_AT_ONCE = 100  # of them, at most
BEST = 5  # the top-5 accuracy is measured where there are more than twice as many classes

# What was measured of each image (N,): whether it was told right, in the five best, or its mean square error.
Scores = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ImageEvaluation:
    """What is to be scored.

    Raises:
        UserError: there is no model, two have one name, or a number cannot be.
    """

    models: Sequence[tuple[str, str]]  # names, and files with their time steps if others than their own: FILE@STEPS
    data: ImageSettings  # whose test images are used
    mac_cost: float = MAC_COST  # additions that a multiply-accumulate costs as much as
    pictures: int = 24  # images shown beside their reconstructions, the first ones; 0 for no picture
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all

    def __post_init__(self) -> None:
        names = [name for name, _ in self.models]
        if not names:
            raise UserError("give at least one model")
        if len(set(names)) < len(names):
            raise UserError(f"each model needs a name of its own (NAME=FILE); these are {', '.join(names)}")
        if not (math.isfinite(self.mac_cost) and self.mac_cost >= 1):
            raise UserError(f"a multiply-accumulate costs at least 1 addition, not {self.mac_cost:g}")
        if self.pictures < 0:
            raise UserError(f"the number of pictures is at least 0, not {self.pictures}")


def evaluate_images(settings: ImageEvaluation, folder: Path, log: Callable[[str], None] = print) -> ImageReport:
    """Score all models on the test images.

    Writes `results.csv` (a row for each model), `results.json` (the layers as well), `RESULTS.md`, and, of networks that
    reconstruct, `NAME.png` with images and their reconstructions.

    Raises:
        UserError: a model or the images cannot be used, or they do not go together.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = resolve_device(settings.device)
    images = settings.data.read()
    loaded = {name: _load(text, device) for name, text in settings.models}
    goal = _goal({name: card for name, (_, card) in loaded.items()})
    for network, _ in loaded.values():
        check_fit(network, goal, images)
    results: list[ImageResult] = []
    baseline: Scores = {}
    for name, (network, _) in loaded.items():
        log(f"scoring {name}")
        scores, activity = measure(network, goal, images.test, settings.data.dev_batch)
        results.append(_result(name, network, scores, baseline, activity, settings.mac_cost))
        baseline = baseline or scores
    report = ImageReport(goal, len(images.test), images.test.origin, settings.mac_cost, tuple(results))
    make_folder(folder)
    write_text(folder / "results.json", report.to_json())
    write_text(folder / "RESULTS.md", report.to_markdown())
    write_csv(folder / "results.csv", report.rows)
    if goal == "reconstruct" and settings.pictures:
        for result in results:
            network, _ = loaded[result.name]
            _draw(result, network, images, settings.pictures, folder / f"{result.name}.png")
    return report


@torch.no_grad()
def measure(network: FeedForward, goal: Goal, images: Images, batch: int) -> tuple[Scores, Activity]:
    """Scores of each image, and what the network did for all of them; it is in evaluation mode afterwards."""
    network.eval()
    device = next(iter(network.state_dict().values())).device
    parts: dict[str, list[NDArray[Any]]] = {}
    with record_activity(network) as activity:
        for pictures, labels in ImageBatches(images, batch, device=device):
            outputs = network(pictures)
            if goal == "reconstruct":
                found = {"mse": (outputs.double() - pictures.flatten(1)).square().mean(1)}
            else:
                found = {"accuracy": outputs.argmax(1) == labels}
                if outputs.shape[1] > 2 * BEST:
                    best = (outputs.topk(BEST).indices == labels[:, None]).any(1)
                    found["top5"] = best | found["accuracy"]  # of equal outputs, both may choose others
            for metric, values in found.items():
                parts.setdefault(metric, []).append(values.cpu().numpy())
    return {metric: np.concatenate(values) for metric, values in parts.items()}, activity


@torch.no_grad()
def operations_ratio(network: FeedForward, images: Images, batch: int) -> float:
    """Synaptic operations over the ANN's multiply-accumulates, in the layers that spikes drive, on the first images."""
    with record_activity(network) as activity:
        for pictures, _ in ImageBatches(images.take(slice(COUNTED)), min(batch, COUNTED_AT_ONCE)):
            network(pictures)
    return activity.synaptic_operations / activity.macs


def _load(text: str, device: str) -> tuple[FeedForward, ModelCard]:
    network, card = load_network(text, device)
    if not isinstance(network, FeedForward):
        raise UserError(f"{text} is no network for images")
    return network, card


def _goal(cards: Mapping[str, ModelCard]) -> Goal:
    goals: dict[str, Goal] = {name: card.goal for name, card in cards.items()}
    if len(set(goals.values())) > 1:
        listed = ", ".join(f"{name} was trained to {goal}" for name, goal in goals.items())
        raise UserError(f"models side by side do the same; here {listed}")
    return next(iter(goals.values()))


def _result(
    name: str, network: FeedForward, scores: Scores, baseline: Scores, activity: Activity, mac_cost: float
) -> ImageResult:
    values, differences = {}, {}
    for metric, found in scores.items():
        shares = metric != "mse"
        values[metric] = intervals.share(found) * 100 if shares else intervals.mean(found)
        if baseline:
            of = baseline[metric]
            differences[metric] = intervals.share_difference(found, of) * 100 if shares else intervals.mean(found - of)
    images = len(next(iter(scores.values())))
    dynamics = network.stack.dynamics
    return ImageResult(name, dynamics, activity.latency, values, differences, figures_of(activity, images, mac_cost))


def figures_of(activity: Activity, images: int, mac_cost: float = MAC_COST) -> Figures:
    """What a network does for one image, from what was counted for so many."""
    macs = sum(layer.macs for layer in activity.layers)
    spiking = activity.schedule is not None
    last = len(activity.layers) - 1
    layers = tuple(
        LayerFigures(
            layer.name,
            layer.neurons // images,
            layer.rate if spiking and i < last else None,
            layer.synaptic_operations / images if spiking and i else None,
            layer.macs / images,
        )
        for i, layer in enumerate(activity.layers)
    )
    if not spiking:
        return Figures(macs / images, macs / images, layers)
    operations, remaining = activity.synaptic_operations, macs - activity.macs
    return Figures(
        macs / images,
        remaining / images,
        layers,
        spikes=activity.spikes / images,
        rate=activity.spikes / sum(layer.neurons * layer.window for layer in activity.layers[:-1]),
        synaptic_operations=operations / images,
        effective_operations=activity.effective_operations / images,
        ratio=operations / activity.macs,
        network_ratio=(operations + remaining) / macs,
        energy_ratio=energy_ratio(operations, remaining, macs, relative_cost(mac_cost)),
    )


@torch.no_grad()
def _draw(result: ImageResult, network: FeedForward, images: ImageSet, count: int, path: Path) -> None:
    device = next(iter(network.state_dict().values())).device
    shown = images.test.take(slice(count))
    ((pictures, _),) = ImageBatches(shown, len(shown), device=device)
    outputs = network(pictures).view_as(pictures)
    steps = "" if result.dynamics is None else f", {result.dynamics.window} time steps"
    error = result.scores["mse"].value
    title = f"{result.name} ({result.kind.upper()}{steps}), mean square error {error:.5f}"
    draw_reconstructions(path, pictures.cpu().numpy(), outputs.cpu().numpy(), title)
