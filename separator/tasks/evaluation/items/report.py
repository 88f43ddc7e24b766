"""The report of an evaluation on test items, for people and for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from separator.metrics.energy import WEIGHED
from separator.metrics.intervals import Interval
from separator.metrics.table import Metric
from separator.snn.layers.dynamics import Dynamics

SPIKES_PICTURE = "spikes.png"


@dataclass(frozen=True)
class Items:
    """Kind of items that networks are scored on."""

    name: str  # of one
    charge: str  # what drives the first layer
    goal: str  # what networks do with it
    metrics: Mapping[str, Metric]


@dataclass(frozen=True)
class LayerFigures:
    """Figures of one layer for one item, on average."""

    name: str
    neurons: int
    rate: float | None  # spikes per neuron and time step; None where none are fired
    spikes_per_neuron: float | None  # the same over all time steps of the run
    threshold: float | None  # in units of what an incoming spike stands for; see `separator.snn.observe.thresholds`
    synaptic_operations: float | None  # additions that spikes cause; None where none come in
    macs: float  # multiply-accumulates of the analog layer


@dataclass(frozen=True)
class Figures:
    """Figures of a network for one item, on average; the last nine are of spiking networks only."""

    macs: float  # multiply-accumulates of the analog network
    remaining_macs: float  # those that this network does itself: all if it is analog, else the first charge, if there is one
    layers: tuple[LayerFigures, ...]
    spikes: float | None = None
    rate: float | None = None  # spikes per neuron and time step, of all neurons that fire
    spikes_per_neuron: float | None = None  # the same over all time steps of the run
    spikes_per_neuron_of_layers: float | None = None  # mean of the layers' own, each layer counting one
    synaptic_operations: float | None = None  # see `separator.snn.observe.activity`
    effective_operations: float | None = None
    ratio: float | None = None  # of synaptic operations to the multiply-accumulates that they replace
    network_ratio: float | None = None  # of all operations of both networks, each counting one
    energy_ratio: float | None = None  # of both networks, arithmetic only


@dataclass(frozen=True)
class ItemResult:
    """Results of one model."""

    name: str
    dynamics: Dynamics | None  # None for an analog network
    latency: int | None  # time steps from the first charge to the result
    scores: Mapping[str, Interval]  # by metric, accuracies in %
    differences: Mapping[str, Interval]  # from the first model on the same items; empty for the first one
    figures: Figures

    @property
    def kind(self) -> str:
        """Kind of the network: ann if it is analog, snn if it is spiking."""
        return "ann" if self.dynamics is None else "snn"

    def row(self) -> dict[str, Any]:
        """All but the layers, as a row of a table; None for what there is not."""
        row: dict[str, Any] = {"model": self.name, "kind": self.kind}
        for metric, score in self.scores.items():
            row |= _columns(metric, score) | _columns(f"{metric}_difference", self.differences.get(metric))
        for name in ("window", "schedule", "initial_potential", "weight_bits"):
            row[name] = None if self.dynamics is None else getattr(self.dynamics, name)
        row["latency"] = self.latency
        return row | {name: value for name, value in vars(self.figures).items() if name != "layers"}


@dataclass(frozen=True)
class ItemReport:
    """Results of an evaluation."""

    of: Items
    items: int
    origin: str  # of the items
    mac_cost: float
    results: tuple[ItemResult, ...]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each model; `fewer_spikes` is how many times fewer a neuron has than that of the first spiking one."""
        return [result.row() | {"fewer_spikes": self._fewer(result.figures)} for result in self.results]

    @cached_property
    def spiking(self) -> list[ItemResult]:
        """Results of spiking networks."""
        return [result for result in self.results if result.dynamics is not None]

    def _fewer(self, figures: Figures) -> float | None:
        return None if figures.spikes is None else _ratio(self.spiking[0].figures.spikes_per_neuron, figures.spikes_per_neuron)

    def title_of(self, result: ItemResult) -> str:
        """A result in one line."""
        metric, score = next(iter(result.scores.items()))
        shown = self.of.metrics[metric]
        steps = "" if result.dynamics is None else f", {result.dynamics.window} time steps"
        return f"{result.name} ({result.kind.upper()}{steps}), {shown.title} {score.value:.{shown.decimals}f}"

    def to_json(self) -> str:
        """Everything, for programs; numbers that do not exist are null."""
        layers = [[asdict(layer) for layer in result.figures.layers] for result in self.results]
        models = [row | {"layers": of} for row, of in zip(self.rows, layers, strict=True)]
        head = {"goal": self.of.goal, f"{self.of.name}s": self.items, "origin": self.origin, "mac_cost": self.mac_cost}
        return json.dumps(_finite(head | {"models": models}), indent=1, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """Tables for people."""
        spiking = self.spiking
        parts = [f"# Scores on {self.items} {self.of.name}s of {self.origin}\n", _scores_table(self.results, self.of)]
        if spiking:
            driven = any(result.figures.layers[0].synaptic_operations is not None for result in spiking)
            parts += [
                "## Spikes, operations, energy\n",
                _operations_table(spiking),
                f"For one {self.of.name}, on average. A synaptic operation (SOP) is an addition that a spike causes. The first "
                f"layer is charged with {self.of.charge}, by multiply-accumulates (MACs) as in the ANN; in the whole network "
                "they count like synaptic operations in the ratio of operations, and in the ratio of energies as the "
                f"{self.mac_cost:g} additions that a MAC costs here (arithmetic only, without memory and the neurons' own "
                f"updates). {WEIGHED} Weights of at most 24 bits are as wide as sums stay exact."
                f"{' Where the input is coded by spikes, these drive the first layer, too, without MACs.' if driven else ''}\n",
            ]
            parts += [
                "## Spikes of a neuron\n",
                _neurons_table(spiking),
                f"What a neuron fires over all time steps of a run, for one {self.of.name}, on average (Rathi et al. 2020, "
                "Fig. 3). V is the threshold where a spike of the layers before adds the weight of its synapse. In the row of "
                "all neurons each neuron counts one, in the mean of layers each layer.\n",
                f"![spikes of a neuron, layer by layer]({SPIKES_PICTURE})\n",
            ]
        for result in spiking:
            parts += [f"## Layers of {result.name}\n", _layers_table(result.figures, self.of)]
        return "\n".join(parts)


def _columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _scores_table(results: Sequence[ItemResult], of: Items) -> str:
    metrics = of.metrics
    first = results[0]
    heads = ["Model"]
    for metric in first.scores:
        heads += [metrics[metric].title.capitalize(), "95 % interval"]
        heads += [f"minus {first.name}", "95 % interval"] if len(results) > 1 else []
    rows = []
    for result in results:
        cells = [result.name]
        for metric, score in result.scores.items():
            cells += _cells(score, metrics[metric].decimals)
            if len(results) > 1:
                difference = result.differences.get(metric)
                cells += _cells(difference, metrics[metric].decimals, "+") if difference else ["", ""]
        rows.append([*cells, _count(result.figures.macs)])
    table = _table([*heads, "MACs of the ANN"], rows)
    return table + (f"\nDifferences are {of.name} by {of.name}, on the same {of.name}s.\n" if len(results) > 1 else "")


def _operations_table(results: Sequence[ItemResult]) -> str:
    heads = ["Model", "Time steps", "Latency (steps)", "Schedule", "Start", "Weight bits", "Spikes", "Spikes/neuron/step"]
    heads += ["SOPs", "of them with weights other than 0", "SOPs/MACs where spikes drive", "in the whole network"]
    rows = []
    for result in results:
        dynamics, figures = result.dynamics, result.figures
        assert dynamics is not None
        bits = "≤ 24" if dynamics.weight_bits is None else f"{dynamics.weight_bits}"
        rows.append(
            [
                *[
                    result.name,
                    f"{dynamics.window}",
                    f"{result.latency}",
                    dynamics.schedule,
                    f"{dynamics.initial_potential:g}",
                    bits,
                ],
                *[_count(figures.spikes), f"{figures.rate:.4f}", _count(figures.synaptic_operations)],
                *[_count(figures.effective_operations), f"{figures.ratio:.3f}", f"{figures.network_ratio:.3f}"],
                f"{figures.energy_ratio:.3f}",
            ]
        )
    return _table([*heads, "Energy of the SNN/ANN"], rows)


def _neurons_table(results: Sequence[ItemResult]) -> str:
    """A row for each layer and two for all, a column of spikes for each network beside one of thresholds."""
    heads = ["Layer", *(f"{of} of {result.name}" for result in results for of in ("V", "Spikes"))]
    longest = max((result.figures.layers for result in results), key=len)
    rows = [[layer.name] for layer in longest]
    for result in results:
        layers = result.figures.layers
        for i, row in enumerate(rows):
            row += [_some(layers[i].threshold), _some(layers[i].spikes_per_neuron)] if i < len(layers) else ["", ""]
    first, all_of = results[0], {"all neurons": "spikes_per_neuron", "mean of layers": "spikes_per_neuron_of_layers"}
    for title, name in all_of.items():
        own = [getattr(result.figures, name) for result in results]
        rows.append([title, *(cell for value in own for cell in ("", _some(value)))])
        if len(results) > 1:
            fewer = [_ratio(own[0], value) for value in own]
            rows.append([f"times fewer than {first.name}", *(cell for value in fewer for cell in ("", _some(value)))])
    return _table(heads, [row for row in rows if any(row[1:])])


def _ratio(first: float | None, other: float | None) -> float | None:
    return None if first is None or not other else first / other


def _some(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _layers_table(figures: Figures, of: Items) -> str:
    rows = [
        [
            layer.name,
            of.charge if layer.synaptic_operations is None else "spikes",
            _count(layer.neurons),
            "" if layer.rate is None else f"{layer.rate:.4f}",
            _count(layer.synaptic_operations),
            _count(layer.macs),
        ]
        for layer in figures.layers
    ]
    return _table(["Layer", "Driven by", "Neurons", "Spikes/neuron/step", "SOPs", "MACs of the ANN"], rows)


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _cells(interval: Interval, decimals: int, sign: str = "") -> list[str]:
    value, low, high = (f"{x:{sign}.{decimals}f}" for x in (interval.value, interval.low, interval.high))
    return [value, f"{low} to {high}"]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    lines.insert(1, "|---|" + "---:|" * (len(heads) - 1))
    return "\n".join(lines) + "\n"
