"""Sweeps as pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from separator.tasks.benchmark.sweeps.plan import COMPARISONS
from separator.tasks.benchmark.systems import parse_system
from separator.tasks.benchmark.training.figures import PARTS, describe, mixing_times, shares, speed
from separator.tasks.benchmark.unrolled.figures import draw_unrolled
from separator.tasks.pictures import write_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from separator.tasks.benchmark.measurement import Measurement
    from separator.tasks.benchmark.sweeps.plan import Curve

LABELS = {
    "window": "time window (steps)",
    "rate": "measured firing rate (spikes per neuron and step)",
    "width": "width (filters and channels)",
    "seconds": "length of sound (s)",
    "layer": "layer under conversion",
    "steps": "time steps",
}
NAMES = {"paper-ann": "ANN", "paper-snn": "layer by layer", "paper-snn-pipelined": "pipelined"}
BACKEND_NAMES = {"": "", "bf16": ", bfloat16", "dense": ", dense", "spikingjelly": ", SpikingJelly"}
COLOURS = {"paper-ann": "black", "paper-snn": "tab:blue", "paper-snn-pipelined": "tab:orange"}
STYLES = {"": "o-", "bf16": "v:", "dense": "s--", "spikingjelly": "^-."}
BARS = (*COMPARISONS, "train")  # drawn as bars, and not over a value
TICKS = (1.0, 2.0, 5.0)  # and their multiples by powers of ten


def draw_sweep(path: Path, name: str, curves: Sequence["Curve"]) -> None:
    """Write `sweep_figure` to a file.

    Args:
        path: picture file; its suffix chooses the format.
        name: see `sweep_figure`, as what follows.
        curves: likewise.

    Raises:
        UserError: the file cannot be written.
    """
    figure = sweep_figure(name, curves)
    write_picture(path, figure)


def sweep_figure(name: str, curves: Sequence["Curve"]) -> "Figure":
    """Draw one sweep.

    Of the conversion, seconds of a training step, a panel for each network. Of training, where a step's time goes, and its
    speed. Of learning through time and inference, memory and time by way. Of separating, time as a multiple of the first
    system's, and memory, in comparisons as bars.

    Args:
        name: of the sweep.
        curves: one for each system; of a conversion in pairs, the fastest and the dense execution of one network.
    """
    # Importing pyplot would choose a screen; a figure by itself draws to files on any machine.
    from matplotlib.figure import Figure

    panels = len(curves) // 2 if name == "layer" else 2
    rows = sum(len(curve.results) for curve in curves) if name == "train" else len(curves)
    height = 0.3 * rows + 1.5 if name in BARS else 5
    figure = Figure(figsize=(max(8, 5 * panels), height), layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, panels, squeeze=False, sharey=name in BARS)[0])
    _draw_panels(axes, name, curves)
    for axis in axes:
        axis.grid(alpha=0.3, which="both")
        if name not in BARS:
            axis.set_xlabel(LABELS[name])
            _plain_logarithmic(axis)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    return figure


def _draw_panels(axes: Sequence["Axes"], name: str, curves: Sequence["Curve"]) -> None:
    if name in COMPARISONS:
        _draw_comparison(axes, curves)
    elif name == "train":
        _draw_training(axes, curves)
    elif name == "steps":
        draw_unrolled(axes, curves)
    elif name == "layer":
        for axis, after, before in zip(axes, curves[::2], curves[1::2], strict=True):
            _draw_conversion(axis, after, before)
    else:
        _draw_separation(axes, name, curves)


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


def _draw_separation(axes: Sequence["Axes"], name: str, curves: Sequence["Curve"]) -> None:
    first = curves[0]
    quantities: list[tuple[str, Callable[[Measurement, Measurement], float]]] = [
        (f"time / time of {_label(first.system)}", lambda mine, base: mine.elapsed / base.elapsed),
        ("memory of the process (MB)", lambda mine, base: mine.memory),
    ]
    for axis, (label, quantity) in zip(axes, quantities, strict=True):
        for curve in curves:
            system = parse_system(curve.system)
            heights = [quantity(*pair) for pair in zip(curve.results, first.results, strict=True)]
            places = [_place(name, *pair) for pair in zip(curve.values, curve.results, strict=True)]
            colour = "tab:red" if system.backend == "spikingjelly" else COLOURS[system.name]
            axis.plot(places, heights, STYLES[system.backend], color=colour, label=_label(curve.system), markersize=5)
        axis.set(ylabel=label)
        if name != "rate":
            axis.set_xscale("log", base=2)
            axis.set_xticks(first.values, [f"{value:g}" for value in first.values])


def _place(name: str, value: float, result: "Measurement") -> float:
    """Place of a measurement; an analog network has no firing rate and is drawn from end to end."""
    return value if name != "rate" or result.firing_rate is None else result.firing_rate


def _draw_comparison(axes: Sequence["Axes"], curves: Sequence["Curve"]) -> None:
    """A bar for each system and length of sound, all rows named at the left."""
    lengths = curves[0].values
    thickness = 0.8 / len(lengths)
    for n, length in enumerate(lengths):
        results = [curve.results[n] for curve in curves]
        places = [row + (n - (len(lengths) - 1) / 2) * thickness for row in range(len(curves))]
        ratios = [result.elapsed / results[0].elapsed for result in results]
        bars = axes[0].barh(places, ratios, thickness, label=f"{length:g} s of noise")
        axes[0].bar_label(bars, [f"{ratio:.2g}" for ratio in ratios], padding=2, fontsize="x-small")
        taken = [result.memory if result.working is None else result.working for result in results]
        axes[1].bar_label(axes[1].barh(places, taken, thickness), [f"{x:.0f}" for x in taken], padding=2, fontsize="x-small")
    axes[0].set_yticks(range(len(curves)), [curve.system for curve in curves])
    axes[0].invert_yaxis()
    axes[0].axvline(1, color="black", linewidth=1)
    axes[0].set_xlabel(f"time / time of {curves[0].system}")
    told = all(result.working is not None for curve in curves for result in curve.results)
    axes[1].set_xlabel("memory that separating took (MB)" if told else "memory of the process, where it alone is known (MB)")
    for axis in axes:
        axis.set_xscale("log")
        axis.margins(x=0.1)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _draw_conversion(axis: "Axes", after: "Curve", before: "Curve") -> None:
    for curve, style, label in ((before, "s--", "before: dense"), (after, "o-", "after: fastest")):
        elapsed, kept = ([getattr(result, field) for result in curve.results] for field in ("elapsed", "kept"))
        axis.plot(curve.values, elapsed, style, color="tab:orange", label=label, markersize=5)
        axis.plot(curve.values, kept, style, color="tab:blue", label=f"{label}, frozen spikes kept", markersize=5)
    axis.set(ylabel="time of a training step (s)", title=after.system)
    axis.set_xticks(after.values)


def _draw_training(axes: Sequence["Axes"], curves: Sequence["Curve"]) -> None:
    """A bar for each network, precision and number of threads: of the parts of a step, mixing behind them, and of speed."""
    results = [result for curve in curves for result in curve.results]
    places, filled = range(len(results)), [0.0] * len(results)
    parts = dict(zip(PARTS, zip(*map(shares, results), strict=True), strict=True))
    parts["mixing beside it, all augmentations"] = tuple(mixing_times(result)[1] / result.elapsed for result in results)
    for (part, widths), colour in zip(parts.items(), ("tab:blue", "tab:orange", "tab:green", "lightgray"), strict=True):
        axes[0].barh(places, [100 * width for width in widths], 0.7, [100 * left for left in filled], label=part, color=colour)
        filled = [left + width for left, width in zip(filled, widths, strict=True)]
    axes[0].set_yticks(places, ["{}, {}, threads: {}".format(*describe(result.case)) for result in results])
    axes[0].invert_yaxis()
    axes[0].set_xlabel("share of the time of a training step (%)")
    speeds = [speed(result) for result in results]
    axes[1].bar_label(axes[1].barh(places, speeds, 0.7, color="tab:purple"), [f"{x:.3g}" for x in speeds], padding=2)
    axes[1].set_xlabel("seconds of mixtures learned from per second")
    axes[1].margins(x=0.1)


def _label(system: str) -> str:
    backend, name, _ = parse_system(system)
    return NAMES[name] + BACKEND_NAMES[backend]
