"""Sweeps as Markdown tables."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from separator.tasks.benchmark.conversion.timing import BATCH
from separator.tasks.benchmark.measurement import ROUNDS
from separator.tasks.benchmark.sweeps.plan import COMPARISONS
from separator.tasks.benchmark.table import systems_table
from separator.tasks.benchmark.training.figures import training_rows
from separator.tasks.benchmark.unrolled.figures import describe, unrolled_rows

if TYPE_CHECKING:
    from separator.tasks.benchmark.measurement import Measurement
    from separator.tasks.benchmark.sweeps.plan import Curve, Sweep
    from separator.tasks.benchmark.sweeps.settings import Settings

TITLES = {
    "window": "Time window (steps)",
    "rate": "Firing rate (that thresholds are chosen for)",
    "width": "Width (filters and channels)",
    "seconds": "Length of sound (s)",
    "layer": "Conversion, layer by layer",
    "train": "Training",
    "steps": "Learning through time, and inference",
    "published": "Networks of the published size, side by side",
    "shipped": "Shipped networks, side by side",
}
UNITS = {"window": "{} steps", "width": "width {}", "seconds": "{:g} s of noise", "rate": "a firing rate of about {:g}"}

Cell = Callable[["Measurement", "Measurement"], str]  # from a measurement and the first system's at the same value


def sweep_tables(
    results: Sequence[tuple["Sweep", "Settings", Sequence["Curve"]]], made_on: str, threads: int, command: str
) -> str:
    """All tables of a run.

    Args:
        results: each sweep, the settings that it did not vary, and its curves.
        made_on: the machine and versions.
        threads: of the CPU.
        command: that does the same again.
    """
    parts = [
        "# Benchmark\n\n",
        f"{made_on}; {threads} CPU threads. Each case ran in a process of its own, whose largest memory counts; its time is "
        f"the fastest of up to {ROUNDS} rounds.\n\n",
        f"```sh\n{command}\n```\n",
    ]
    for sweep, settings, curves in results:
        parts.append(f"\n## {TITLES[sweep.name]}\n\n![{sweep.name}]({sweep.name}.png)\n")
        if sweep.name in COMPARISONS:
            parts += comparison_tables(curves)
        elif sweep.name == "train":
            parts += [says + _table(rows) for says, rows in training_rows(curves)]
        elif sweep.name == "steps":
            from separator.tasks.benchmark.unrolled.lessons import count_neurons

            neurons = count_neurons(settings.network, settings.seconds)
            parts.append(describe(curves, neurons))
            parts += [says + _table(rows) for says, rows in unrolled_rows(curves, neurons, settings.batch)]
        else:
            parts += layer_tables(settings, curves) if sweep.name == "layer" else value_tables(sweep.name, settings, curves)
    return "".join(parts)


def comparison_tables(curves: Sequence["Curve"]) -> list[str]:
    """Measurements of each system, a table for each length of sound."""
    return ["\n" + systems_table([curve.results[n] for curve in curves]) for n in range(len(curves[0].values))]


def value_tables(name: str, settings: "Settings", curves: Sequence["Curve"]) -> list[str]:
    """Time, memory and firing rate of separating, systems against values."""
    fixed = {field: getattr(settings, field) for field in UNITS if field != name}
    place = ", ".join(UNITS[field].format(value) for field, value in fixed.items() if value is not None)
    first = curves[0].system
    cells: dict[str, Cell] = {
        f"Time as a multiple of {first}'s, and in seconds": lambda mine, base: (
            f"{mine.elapsed / base.elapsed:.2f} ({mine.elapsed:.3g})"
        ),
        "Memory (MB)": lambda mine, base: f"{mine.memory:.0f}",
        "Firing rate, measured": lambda mine, base: "" if mine.firing_rate is None else f"{mine.firing_rate:.3f}",
    }
    parts = [f"\nNetworks with random weights, {place}.\n"]
    for title, cell in cells.items():
        rows = [[f"{value:g}" for value in curves[0].values]]
        rows += [[cell(mine, base) for mine, base in zip(curve.results, curves[0].results, strict=True)] for curve in curves]
        names = ["system", *(curve.system for curve in curves)]
        table = [[name, *row] for name, row in zip(names, rows, strict=True) if any(row)]
        parts.append(f"\n{title}:\n\n" + _table(table))
    if checked := [curve.system for curve in curves if all(result.same_spikes for result in curve.results)]:
        parts.append(f"\nSpikes and readouts compared with ours before timing, and equal to the bit: {', '.join(checked)}.\n")
    return parts


def layer_tables(settings: "Settings", curves: Sequence["Curve"]) -> list[str]:
    """Time of a training step in the conversion of each layer, of a network in the fastest and in the dense execution."""
    parts = [
        f"\nOne training step on {BATCH} mixtures of {settings.seconds:g} s, {settings.window} time steps, pipelined: frozen "
        "spiking layers, the layer in tandem, the analog ones, backward, optimiser. `kept`: with the spikes of the frozen "
        "layers kept from an earlier epoch. Before: all spikes by dense floating-point layers. After: by the "
        "fastest execution.\n"
    ]
    for after, before in zip(curves[::2], curves[1::2], strict=True):
        rows = [["layer", "before (s)", "kept", "after (s)", "kept", "before / after", "memory before (MB)", "after"]]
        numbers = [
            [old.elapsed, old.kept or 0.0, new.elapsed, new.kept or 0.0]
            for old, new in zip(before.results, after.results, strict=True)
        ]
        memories = [[old.memory, new.memory] for old, new in zip(before.results, after.results, strict=True)]
        numbers.append([sum(column) for column in zip(*numbers, strict=True)])
        memories.append([max(column) for column in zip(*memories, strict=True)])
        for layer, times, memory in zip([*after.values, "all"], numbers, memories, strict=True):
            ratio = f"{times[0] / times[2]:.1f}"
            rows.append([str(layer), *(f"{t:.3g}" for t in times), ratio, *(f"{m:.0f}" for m in memory)])
        parts.append(f"\n{after.system}:\n\n" + _table(rows))
    return parts


def _table(rows: Sequence[Sequence[Any]]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    rule = "|---|" + "---:|" * (len(rows[0]) - 1)
    return "\n".join([head, rule, *body]) + "\n"
