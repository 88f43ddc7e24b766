"""Memory and time against the number of steps: tables and a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from separator.tasks.benchmark.unrolled.ways import WAYS, parse_trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from separator.tasks.benchmark.measurement import Measurement
    from separator.tasks.benchmark.sweeps.plan import Curve

SAYS = (
    "\nOne step of learning of {network} ({neurons:,} neurons that fire) on {batch} {items}, on the CPU: the way "
    "forward, the way back, Adam. `analog` has no steps. `unrolled` is backpropagation through time by automatic "
    "differentiation; `bits` keeps one bit for each neuron and step; `blocks`, for derivatives of the potential, an eighth of "
    "the potentials too; `tandem` has spikes go forward and gradients back through analog twins.\n"
)
MEMORY = "Memory of a step beyond what the process held before (MB), and what each time step of an item adds"
STYLES = {"analog": "k--", "unrolled": "s-", "bits": "o-", "blocks": "^-", "tandem": "d-"}


def grown(curve: "Curve", batch: int) -> float | None:
    """MB that a time step of one item adds, from the fewest steps to the most; None where that is not known."""
    first, last = curve.results[0], curve.results[-1]
    steps: int = curve.values[-1] - curve.values[0]
    if first.working is None or last.working is None or not steps:
        return None
    return (last.working - first.working) / (steps * batch)


def unrolled_rows(curves: Sequence["Curve"], neurons: int, batch: int) -> list[tuple[str, list[list[str]]]]:
    """Two tables, each with what it says: of memory and of time. Columns: steps.

    Args:
        curves: one for each way, the analog one first, then the unrolled one.
        neurons: of an item.
        batch: items.
    """
    heads = [f"{steps} steps" for steps in curves[0].values]
    memory, seconds = [["way", *heads, "MB a step", "bits a neuron and step"]], [["way", *heads, "times unrolled"]]
    unrolled = next(curve for curve in curves if parse_trained(curve.system).way == "unrolled")
    for curve in curves:
        way, more = parse_trained(curve.system).way, grown(curve, batch)
        taken = ["" if result.working is None else f"{result.working:.0f}" for result in curve.results]
        through_time = more is not None and way != "analog"
        added = [f"{more:.4f}", f"{more * 8e6 / neurons:.2f}"] if through_time and more is not None else ["", ""]
        memory.append([way, *taken, *added])
        ratio = curve.results[-1].elapsed / unrolled.results[-1].elapsed
        seconds.append([way, *(f"{result.elapsed:.3g}" for result in curve.results), f"{ratio:.2f}"])
    return [(f"\n{MEMORY}:\n\n", memory), ("\nTime of a step of learning (s):\n\n", seconds)]


def describe(curves: Sequence["Curve"], neurons: int) -> str:
    """What was measured, in words."""
    case = curves[0].results[0].case
    items = f"mixtures of {case.seconds:g} s" if case.seconds else "pictures of 32 x 32"
    return SAYS.format(network=parse_trained(case.system).network, neurons=neurons, batch=case.batch, items=items)


def draw_unrolled(axes: Sequence["Axes"], curves: Sequence["Curve"]) -> None:
    """Memory and time against the steps, a line for each way."""
    labels = {"memory of a step of learning (MB)": _memory, "time of a step of learning (s)": _seconds}
    for axis, (label, quantity) in zip(axes, labels.items(), strict=True):
        for curve in curves:
            way = parse_trained(curve.system).way
            heights = [quantity(result) for result in curve.results]
            axis.plot(curve.values, heights, STYLES[way], label=WAYS[way], markersize=5)
        axis.set(ylabel=label)
        axis.set_xscale("log")
        axis.set_xticks(curves[0].values, [f"{value:g}" for value in curves[0].values])
        axis.set_xticks([], minor=True)


def _memory(result: "Measurement") -> float:
    return result.memory if result.working is None else result.working


def _seconds(result: "Measurement") -> float:
    return result.elapsed
