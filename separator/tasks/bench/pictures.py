"""Sweeps as pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from separator.atomic import atomic_path
from separator.tasks.bench.plan import COMPARED
from separator.tasks.bench.systems import parse_system
from separator.tasks.bench.training_figures import PARTS, makings, named, shares, speed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from separator.tasks.bench.measurement import Measurement
    from separator.tasks.bench.plan import Line

LABELS = {
    "window": "time window (steps)",
    "rate": "measured firing rate (spikes per neuron and step)",
    "width": "width (filters and channels)",
    "seconds": "length of sound (s)",
    "layer": "layer under conversion",
}
NAMES = {"paper-ann": "ANN", "paper-snn": "layer by layer", "paper-snn-pipelined": "pipelined"}
HANDS = {"": "", "bf16": ", bfloat16", "dense": ", dense", "spikingjelly": ", SpikingJelly"}
COLOURS = {"paper-ann": "black", "paper-snn": "tab:blue", "paper-snn-pipelined": "tab:orange"}
STYLES = {"": "o-", "bf16": "v:", "dense": "s--", "spikingjelly": "^-."}
BARS = (*COMPARED, "train")  # drawn as bars, and not over a value
TICKS = (1.0, 2.0, 5.0)  # and their multiples by powers of ten


def draw_sweep(path: Path, name: str, lines: Sequence["Line"]) -> None:
    """Draw one sweep.

    Of the conversion, seconds of a training step, a panel for each network. Of training, where a step's time goes, and its
    speed. Of separating, time as a multiple of the first system's, and memory, in comparisons as bars.

    Args:
        path: picture file; its suffix chooses the format.
        name: of the sweep.
        lines: its systems; of a conversion in pairs, the fastest and the dense execution of one network.

    Raises:
        UserError: the file cannot be written.
    """
    # Importing pyplot would choose a screen; a figure by itself draws to files on any machine.
    from matplotlib.figure import Figure

    panels = len(lines) // 2 if name == "layer" else 2
    rows = sum(len(line.results) for line in lines) if name == "train" else len(lines)
    height = 0.3 * rows + 1.5 if name in BARS else 5
    figure = Figure(figsize=(max(8, 5 * panels), height), layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, panels, squeeze=False, sharey=name in BARS)[0])
    if name in COMPARED:
        _draw_comparison(axes, lines)
    elif name == "train":
        _draw_training(axes, lines)
    elif name == "layer":
        for axis, after, before in zip(axes, lines[::2], lines[1::2], strict=True):
            _draw_conversion(axis, after, before)
    else:
        _draw_separation(axes, name, lines)
    for axis in axes:
        axis.grid(alpha=0.3, which="both")
        if name not in BARS:
            axis.set_xlabel(LABELS[name])
            _plain_logarithmic(axis)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _plain_logarithmic(axis: "Axes") -> None:
    """A logarithmic axis that spans at least a factor of ten, with numbers written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    middle = (low * high) ** 0.5
    axis.set_ylim(min(low, middle / 10**0.5), max(high, middle * 10**0.5))
    axis.yaxis.set_major_locator(LogLocator(subs=TICKS))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _draw_separation(axes: Sequence["Axes"], name: str, lines: Sequence["Line"]) -> None:
    first = lines[0]
    quantities: list[tuple[str, Callable[[Measurement, Measurement], float]]] = [
        (f"time / time of {_label(first.system)}", lambda mine, base: mine.elapsed / base.elapsed),
        ("memory of the process (MB)", lambda mine, base: mine.memory),
    ]
    for axis, (label, quantity) in zip(axes, quantities, strict=True):
        for line in lines:
            system = parse_system(line.system)
            heights = [quantity(*pair) for pair in zip(line.results, first.results, strict=True)]
            places = [_place(name, *pair) for pair in zip(line.values, line.results, strict=True)]
            colour = "tab:red" if system.hands == "spikingjelly" else COLOURS[system.name]
            axis.plot(places, heights, STYLES[system.hands], color=colour, label=_label(line.system), markersize=5)
        axis.set(ylabel=label)
        if name != "rate":
            axis.set_xscale("log", base=2)
            axis.set_xticks(first.values, [f"{value:g}" for value in first.values])


def _place(name: str, value: float, result: "Measurement") -> float:
    """Where a measurement stands; an analog network has no firing rate and is drawn from end to end."""
    return value if name != "rate" or result.firing_rate is None else result.firing_rate


def _draw_comparison(axes: Sequence["Axes"], lines: Sequence["Line"]) -> None:
    """A bar for each system and length of sound, all rows named at the left."""
    lengths = lines[0].values
    thickness = 0.8 / len(lengths)
    for n, length in enumerate(lengths):
        results = [line.results[n] for line in lines]
        places = [row + (n - (len(lengths) - 1) / 2) * thickness for row in range(len(lines))]
        ratios = [result.elapsed / results[0].elapsed for result in results]
        bars = axes[0].barh(places, ratios, thickness, label=f"{length:g} s of noise")
        axes[0].bar_label(bars, [f"{ratio:.2g}" for ratio in ratios], padding=2, fontsize="x-small")
        taken = [result.memory if result.working is None else result.working for result in results]
        axes[1].bar_label(axes[1].barh(places, taken, thickness), [f"{x:.0f}" for x in taken], padding=2, fontsize="x-small")
    axes[0].set_yticks(range(len(lines)), [line.system for line in lines])
    axes[0].invert_yaxis()
    axes[0].axvline(1, color="black", linewidth=1)
    axes[0].set_xlabel(f"time / time of {lines[0].system}")
    told = all(result.working is not None for line in lines for result in line.results)
    axes[1].set_xlabel("memory that separating took (MB)" if told else "memory of the process, where it alone is known (MB)")
    for axis in axes:
        axis.set_xscale("log")
        axis.margins(x=0.1)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _draw_conversion(axis: "Axes", after: "Line", before: "Line") -> None:
    for line, style, label in ((before, "s--", "before: dense"), (after, "o-", "after: fastest")):
        elapsed, kept = ([getattr(result, field) for result in line.results] for field in ("elapsed", "kept"))
        axis.plot(line.values, elapsed, style, color="tab:orange", label=label, markersize=5)
        axis.plot(line.values, kept, style, color="tab:blue", label=f"{label}, frozen spikes kept", markersize=5)
    axis.set(ylabel="time of a training step (s)", title=after.system)
    axis.set_xticks(after.values)


def _draw_training(axes: Sequence["Axes"], lines: Sequence["Line"]) -> None:
    """A bar for each network, precision and number of threads: of the parts of a step, mixing behind them, and of speed."""
    results = [result for line in lines for result in line.results]
    places, filled = range(len(results)), [0.0] * len(results)
    parts = dict(zip(PARTS, zip(*map(shares, results), strict=True), strict=True))
    parts["mixing beside it, all augmentations"] = tuple(makings(result)[1] / result.elapsed for result in results)
    for (part, widths), colour in zip(parts.items(), ("tab:blue", "tab:orange", "tab:green", "lightgray"), strict=True):
        axes[0].barh(places, [100 * width for width in widths], 0.7, [100 * left for left in filled], label=part, color=colour)
        filled = [left + width for left, width in zip(filled, widths, strict=True)]
    axes[0].set_yticks(places, ["{}, {}, threads: {}".format(*named(result.case)) for result in results])
    axes[0].invert_yaxis()
    axes[0].set_xlabel("share of the time of a training step (%)")
    speeds = [speed(result) for result in results]
    axes[1].bar_label(axes[1].barh(places, speeds, 0.7, color="tab:purple"), [f"{x:.3g}" for x in speeds], padding=2)
    axes[1].set_xlabel("seconds of mixtures learned from per second")
    axes[1].margins(x=0.1)


def _label(system: str) -> str:
    hands, name, _ = parse_system(system)
    return NAMES[name] + HANDS[hands]
