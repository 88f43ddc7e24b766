"""Spikes of a neuron, layer by layer, as a picture (Rathi et al. 2020, Fig. 3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from separator.tasks.evaluation.items.report import LayerFigures
from separator.tasks.pictures import write_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUP = 0.8  # width of the bars of a layer, which is 1 wide


def draw_spikes(path: Path, networks: Mapping[str, Sequence[LayerFigures]]) -> None:
    """Write `spikes_figure` to a file, whose suffix chooses the format.

    Raises:
        UserError: the file cannot be written.
    """
    figure = spikes_figure(networks)
    write_picture(path, figure)


def spikes_figure(networks: Mapping[str, Sequence[LayerFigures]]) -> "Figure":
    """A group of bars for each layer that fires, in it a bar for each network: spikes of a neuron over a run, on average.

    A layer's threshold stands beneath it if it is the same in all networks, to two decimals: tuning leaves it as it is.

    Args:
        networks: layers of spiking networks by title, at least one.
    """
    # Importing pyplot would choose a screen; a figure by itself draws to files on any machine.
    from matplotlib.figure import Figure

    firing = [[layer for layer in layers if layer.spikes_per_neuron is not None] for layers in networks.values()]
    groups, width = max(map(len, firing)), GROUP / len(networks)
    figure = Figure(figsize=(max(7.0, 2 + groups * max(0.65, 0.25 * len(networks))), 4), layout="constrained")
    axes = figure.subplots()
    for number, (title, layers) in enumerate(zip(networks, firing, strict=True)):
        places = [place + (number - (len(networks) - 1) / 2) * width for place in range(len(layers))]
        axes.bar(places, [layer.spikes_per_neuron or 0.0 for layer in layers], width, color=f"C{number % 10}", label=title)
    labels = [_label(place, [layers[place].threshold for layers in firing if place < len(layers)]) for place in range(groups)]
    axes.set_xticks(range(groups), labels, fontsize="small")
    axes.set(xlabel="layer, and its threshold V", ylabel="spikes of a neuron over a run")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", fontsize="small")  # above, where it hides no bar
    return figure


def _label(place: int, thresholds: Sequence[float | None]) -> str:
    told = {f"{threshold:.2f}" for threshold in thresholds if threshold is not None}
    return f"{place}\nV={told.pop()}" if len(told) == 1 else f"{place}"
