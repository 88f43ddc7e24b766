"""Networks scored on the same test items, side by side: scores, spikes, operations, energy."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from separator.atomic import write_csv, write_text
from separator.errors import UserError
from separator.metrics import intervals
from separator.metrics.energy import MAC_COST, energy_ratio, relative_cost
from separator.metrics.table import Metric
from separator.models.files import Network, load_network
from separator.snn.observe.activity import Activity, record_activity
from separator.snn.observe.thresholds import thresholds_in_spikes
from separator.tasks.devices import resolve_device
from separator.tasks.evaluation.items.report import SPIKES_PICTURE, Figures, ItemReport, ItemResult, Items, LayerFigures
from separator.tasks.evaluation.items.spikes_picture import draw_spikes
from separator.tasks.problems.protocol import Batches, Data, Objective, Problem
from separator.writer import sole_writer

# What was measured of each item (N,): whether it was told right, or a number.
Scores = dict[str, NDArray[Any]]


class ItemObjective(Objective, Protocol):
    """An objective that is met, or not, item by item."""

    def judge(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Scores of each item of a batch, (B,), by metric: whether it was told right, or a number."""


class ItemData(Data, Protocol):
    """Data with test items."""

    @property
    def origin(self) -> str:
        """Origin of the test items."""

    def test(self) -> Batches:
        """All test items."""


class ItemProblem(Problem, Protocol):
    """A problem that networks are scored in item by item."""

    metrics: ClassVar[Mapping[str, Metric]]
    for_training: ClassVar[frozenset[str]]  # settings that scores do not depend on
    item: ClassVar[str]  # what one is called
    charge: ClassVar[str]  # what drives the first layer

    @property
    def goal(self) -> str:
        """Task of networks with an item, in one word."""

    @property
    def objective(self) -> ItemObjective:
        """Objective of the networks."""

    def open(self, network: Network, seed: int, device: str | torch.device = "cpu", first_epoch: int = 0) -> ItemData:
        """The data for a network."""

    def draw(self, network: Network, data: Any, count: int, path: Path, title: str) -> None:
        """Draw what a network makes of the first items, if there is anything to see."""


@dataclass(frozen=True)
class ItemEvaluation:
    """Models to be scored, and the items that they are scored on.

    Raises:
        UserError: there is no model, two have one name, one that of a picture, or a number cannot be.
    """

    problem: ItemProblem  # whose test items are used
    models: Sequence[tuple[str, str]]  # names, and models with their time steps if others than their own: MODEL@WINDOW
    mac_cost: float = MAC_COST  # additions that a multiply-accumulate costs as much as
    pictures: int = 24  # items shown beside what networks make of them, the first ones; 0 for no picture
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all

    def __post_init__(self) -> None:
        names = [name for name, _ in self.models]
        if not names:
            raise UserError("give at least one model")
        if len(set(names)) < len(names):
            raise UserError(f"each model needs a name of its own (NAME=MODEL); these are {', '.join(names)}")
        if SPIKES_PICTURE in [f"{name}.png" for name in names]:
            raise UserError(f"{SPIKES_PICTURE} is a picture of all models; give the one called so another name, NAME=MODEL")
        if not (math.isfinite(self.mac_cost) and self.mac_cost >= 1):
            raise UserError(f"a multiply-accumulate costs at least 1 addition, not {self.mac_cost:g}")
        if self.pictures < 0:
            raise UserError(f"the number of pictures is at least 0, not {self.pictures}")


@dataclass(frozen=True)
class Candidate:
    """A model to be scored, with the problem as it sees it and its data."""

    name: str
    network: Network
    problem: ItemProblem
    data: ItemData


def evaluate_items(settings: ItemEvaluation, folder: Path, log: Callable[[str], None] = print) -> ItemReport:
    """Score all models on the test items.

    Writes `results.csv` (a row for each model), `results.json` (the layers as well), `RESULTS.md`, of spiking models
    `spikes.png`, and, where there is something to see, `NAME.png` with items and what the network makes of them.

    Raises:
        UserError: a model or the data cannot be used, or they do not go together.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = resolve_device(settings.device)
    candidates = [_candidate(settings.problem, name, model, device) for name, model in settings.models]
    _check_alike(candidates)
    results: list[ItemResult] = []
    baseline: Scores = {}
    for candidate in candidates:
        log(f"scoring {candidate.name}")
        scores, activity = measure(candidate.network, candidate.problem.objective, candidate.data.test())
        results.append(_result(candidate, scores, baseline, activity, settings.mac_cost))
        baseline = baseline or scores
    first = candidates[0]
    count = len(next(iter(baseline.values())))
    of = Items(first.problem.item, first.problem.charge, first.problem.goal, first.problem.metrics)
    report = ItemReport(of, count, first.data.origin, settings.mac_cost, tuple(results))
    with sole_writer(folder):
        write_text(folder / "results.json", report.to_json())
        write_text(folder / "RESULTS.md", report.to_markdown())
        write_csv(folder / "results.csv", report.rows)
        if report.spiking:
            draw_spikes(folder / SPIKES_PICTURE, {report.title_of(of): of.figures.layers for of in report.spiking})
        for candidate, result in zip(candidates, results, strict=True):
            with torch.no_grad():
                path, title = folder / f"{candidate.name}.png", report.title_of(result)
                candidate.problem.draw(candidate.network, candidate.data, settings.pictures, path, title)
    return report


@torch.no_grad()
def measure(network: Network, objective: ItemObjective, batches: Batches) -> tuple[Scores, Activity]:
    """Scores of each item, and what the network did for all of them; it is in evaluation mode afterwards."""
    network.eval()
    parts: dict[str, list[NDArray[Any]]] = {}
    with record_activity(network) as activity:
        for batch in batches:
            for metric, values in objective.judge(network, batch).items():
                parts.setdefault(metric, []).append(values.cpu().numpy())
    return {metric: np.concatenate(values) for metric, values in parts.items()}, activity


def _candidate(problem: ItemProblem, name: str, model: str, device: str) -> Candidate:
    network, card = load_network(model, device)
    of_model = problem.of_model(network, card)
    return Candidate(name, network, of_model, of_model.open(network, 0, device))


def _check_alike(candidates: Sequence[Candidate]) -> None:
    goals = {candidate.name: candidate.problem.goal for candidate in candidates}
    if len(set(goals.values())) > 1:
        listed = ", ".join(f"{name} was trained to {goal}" for name, goal in goals.items())
        raise UserError(f"models side by side do the same; here {listed}")


def _result(candidate: Candidate, scores: Scores, baseline: Scores, activity: Activity, mac_cost: float) -> ItemResult:
    values, differences = {}, {}
    for metric, found in scores.items():
        shares = found.dtype == np.bool_
        values[metric] = intervals.share(found) * 100 if shares else intervals.mean(found)
        if baseline:
            of = baseline[metric]
            differences[metric] = intervals.share_difference(found, of) * 100 if shares else intervals.mean(found - of)
    items = len(next(iter(scores.values())))
    dynamics = candidate.network.stack.dynamics
    thresholds = () if activity.latency is None else thresholds_in_spikes(candidate.network.stack)
    figures = figures_of(activity, items, mac_cost, thresholds)
    return ItemResult(candidate.name, dynamics, activity.latency, values, differences, figures)


def figures_of(activity: Activity, items: int, mac_cost: float = MAC_COST, thresholds: Sequence[float | None] = ()) -> Figures:
    """Figures of a network for one item, from what was counted for so many, with thresholds of its layers if they are told."""
    macs = sum(layer.macs for layer in activity.layers)
    spiking = activity.schedule is not None
    *before, last = activity.layers
    firing = activity.layers if last.spikes else before  # the last one fires only where its spikes are counted
    layers = tuple(
        LayerFigures(
            layer.name,
            layer.neurons // items,
            layer.rate if spiking and i < len(firing) else None,
            layer.rate * layer.window if spiking and i < len(firing) else None,
            thresholds[i] if thresholds else None,
            layer.synaptic_operations / items if spiking and not (activity.encodes and i == 0) else None,
            layer.macs / items,
        )
        for i, layer in enumerate(activity.layers)
    )
    if not spiking:
        return Figures(macs / items, macs / items, layers)
    operations, remaining = activity.synaptic_operations, macs - activity.macs
    return Figures(
        macs / items,
        remaining / items,
        layers,
        spikes=activity.spikes / items,
        rate=activity.spikes / sum(layer.neurons * layer.window for layer in firing),
        spikes_per_neuron=activity.spikes / sum(layer.neurons for layer in firing),
        spikes_per_neuron_of_layers=sum(layer.rate * layer.window for layer in firing) / len(firing),
        synaptic_operations=operations / items,
        effective_operations=activity.effective_operations / items,
        ratio=operations / activity.macs,
        network_ratio=(operations + remaining) / macs,
        energy_ratio=energy_ratio(operations, remaining, macs, relative_cost(mac_cost)),
    )
