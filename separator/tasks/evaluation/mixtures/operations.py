"""Operations and energy of a spiking network beside those of the analog network it came from."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from separator.metrics.energy import COSTS, FLOAT32, WEIGHED, dense_energy, spiking_energy
from separator.snn.observe.activity import Activity

# What drives a layer: spikes, or real numbers in the spiking network too (its first layer's charge, and all outside the stack).
FLOAT, CHARGE, SPIKES, READOUT = "float", "charge", "spikes", "readout"
KEY = ("position", "part", "layer")
COUNTS = ("spikes", "neurons", "window", "synaptic_operations", "macs")


@dataclass(frozen=True)
class LayerOperations:
    """Operations of one layer, per second of sound."""

    part: str  # FLOAT, CHARGE (floats in, spikes out), SPIKES (spikes in and out) or READOUT (spikes in, potential out)
    name: str
    rate: float | None  # spikes per neuron and time step, 0..1; None for a layer that fires none
    spikes: float  # whatever they are worth
    neurons: float  # one for each channel and frame
    synaptic_operations: float  # additions of a weight to a membrane potential
    macs: float  # multiply-accumulates of the analog layer


@dataclass(frozen=True)
class Operations:
    """Operations of a spiking network, per second of sound."""

    seconds: float  # of sound they were counted on
    window: int
    layers: tuple[LayerOperations, ...]

    @property
    def synaptic_operations(self) -> float:
        """Additions that spikes cause."""
        return sum(layer.synaptic_operations for layer in self.layers)

    @property
    def spikes(self) -> float:
        """Spikes of all layers, whatever they are worth."""
        return sum(layer.spikes for layer in self.layers)

    @property
    def spikes_per_neuron(self) -> float:
        """Mean spikes of a neuron that fires, over all time steps of a frame."""
        return self.spikes / sum(layer.neurons for layer in self.layers if layer.rate is not None)

    @property
    def replaced_macs(self) -> float:
        """Multiply-accumulates of the analog network in the layers that spikes drive."""
        return sum(layer.macs for layer in self.layers if layer.part in (SPIKES, READOUT))

    @property
    def float_macs(self) -> float:
        """Multiply-accumulates that remain in the spiking network."""
        return sum(layer.macs for layer in self.layers if layer.part in (FLOAT, CHARGE))

    @property
    def ratio(self) -> float:
        """Synaptic operations over the multiply-accumulates that they replace."""
        return self.synaptic_operations / self.replaced_macs


def activity_rows(activity: Activity) -> list[dict[str, object]]:
    """Counts that `record_activity` made in a spiking network, as rows of a table with the columns KEY and COUNTS."""
    last = len(activity.layers) - 1
    rows: list[dict[str, object]] = [
        {
            "position": i,
            "part": CHARGE if activity.encodes and i == 0 else READOUT if i == last else SPIKES,
            "layer": layer.name,
            **{count: getattr(layer, count) for count in COUNTS},
        }
        for i, layer in enumerate(activity.layers)
    ]
    # The charge is what the first layer's MACs are; it is not listed twice.
    outside = {name: macs for name, macs in activity.float_macs.items() if name != CHARGE}
    places = enumerate(outside.items(), len(rows))
    return rows + [{"position": i, "part": FLOAT, "layer": name, "macs": macs} for i, (name, macs) in places]


def total_operations(rows: Iterable[Mapping[str, str]], seconds: float) -> Operations:
    """Add up rows of `activity_rows` over mixtures of `seconds` seconds in all."""
    totals: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    window = 0
    for row in sorted(rows, key=lambda row: int(row["position"])):
        counts = {name: int(row[name] or 0) for name in COUNTS}
        window = max(window, counts["window"])
        total = totals[row["part"], row["layer"]]
        for name, count in counts.items():
            total[name] += count
    layers = (
        LayerOperations(
            part,
            name,
            total["spikes"] / (total["neurons"] * window) if part in (CHARGE, SPIKES) or total["spikes"] else None,
            total["spikes"] / seconds,
            total["neurons"] / seconds,
            total["synaptic_operations"] / seconds,
            total["macs"] / seconds,
        )
        for (part, name), total in totals.items()
    )
    return Operations(seconds, window, tuple(layers))


def operations_report(operations: Operations) -> dict[str, Any]:
    """Plain values for JSON: totals, energy at each set of costs, and the layers."""
    return {
        "seconds": operations.seconds,
        "window": operations.window,
        "spikes_per_second": operations.spikes,
        "spikes_per_neuron": operations.spikes_per_neuron,
        "synaptic_operations_per_second": operations.synaptic_operations,
        "replaced_macs_per_second": operations.replaced_macs,
        "synaptic_operations_per_mac": operations.ratio,
        "float_macs_per_second": operations.float_macs,
        "float_energy_uj_per_second": dense_energy(operations.float_macs, FLOAT32) * 1e-6,
        "energy": [
            {
                "arithmetic": cost.name,
                "pj_per_mac": cost.multiply_accumulate,
                "pj_per_addition": cost.add,
                "ann_uj_per_second": dense_energy(operations.replaced_macs, cost) * 1e-6,
                "snn_uj_per_second": spiking_energy(operations.synaptic_operations, cost) * 1e-6,
            }
            for cost in COSTS
        ],
        "layers": [asdict(layer) for layer in operations.layers],
    }


def operations_markdown(title: str, report: Mapping[str, Any]) -> str:
    """An `operations_report` as Markdown: the ratio, the energy, the layers."""
    mega = 1e-6
    lines = [
        f"{title}, {report['window']} time steps, per second of sound (counted on {report['seconds']:.0f} s): "
        f"{report['synaptic_operations_per_second'] * mega:.1f} M synaptic operations where the ANN has "
        f"{report['replaced_macs_per_second'] * mega:.1f} M multiply-accumulates (MACs), a ratio of "
        f"**{report['synaptic_operations_per_mac']:.3f}**; {report['float_macs_per_second'] * mega:.1f} M MACs remain in "
        "floating point in both networks.",
        "",
        "| Arithmetic | pJ per MAC | pJ per addition | ANN (µJ/s) | SNN (µJ/s) | SNN / ANN |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in report["energy"]:
        ann, snn = row["ann_uj_per_second"], row["snn_uj_per_second"]
        costs = f"{row['pj_per_mac']:.3g} | {row['pj_per_addition']:.3g}"
        lines.append(f"| {row['arithmetic']} | {costs} | {ann:.1f} | {snn:.1f} | {snn / ann:.3f} |")
    lines += [
        "",
        "Energy of the layers that spikes drive; the float MACs that remain take "
        f"{report['float_energy_uj_per_second']:.1f} µJ/s in fp32 on top, in both networks. Costs: 45 nm, arithmetic only "
        f"(Horowitz, ISSCC 2014), without memory access and without the neurons' own updates. {WEIGHED}",
        "",
        "| Layer | Driven by | Spikes per neuron and step | M synaptic operations/s | M MACs/s in the ANN |",
        "|---|---|---:|---:|---:|",
    ]
    for layer in report["layers"]:
        spiking = layer["part"] in (SPIKES, READOUT)
        rate = "-" if layer["rate"] is None else f"{layer['rate']:.4f}"
        additions = f"{layer['synaptic_operations'] * mega:.2f}" if spiking else "-"
        lines.append(
            f"| {layer['name']} | {'spikes' if spiking else 'floats'} | {rate} | {additions} | {layer['macs'] * mega:.2f} |"
        )
    return "\n".join(lines) + "\n"
