"""Memory and time against the number of steps: tables and a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from separator.tasks.benchmark.unrolled.trainings import whole_rows
from separator.tasks.benchmark.unrolled.ways import WAYS, parse_way

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from separator.tasks.benchmark.measurement import Measurement
    from separator.tasks.benchmark.sweeps.plan import Curve

SAYS = (
    "\nOne step of learning of {network} ({neurons:,} neurons that fire) on {batch} {items}, on {device}: the way "
    "forward, the way back, Adam. `analog` has no steps. `unrolled` is backpropagation through time by automatic "
    "differentiation; `bits` keeps one bit for each neuron and step; `blocks`, for derivatives of the potential, an eighth of "
    "the potentials too; `tandem` has spikes go forward and gradients back through analog twins, in at most {most} steps. "
    "`analog-inference` and `spiking-inference` are a forward pass of the same batch, in evaluation mode and without "
    "gradients. {held}\n"
)
ON_CPU = "Memory in all is the process's, with torch and what it has loaded and compiled."
ON_GPU = "Memory is that of tensors on the GPU (`torch.cuda.max_memory_allocated`); each look at the clock waits for the GPU."
MEMORY = "Memory of {what} beyond what was held before (MB), and what each time step of an item adds"
STYLES = {
    "analog": "k--",
    "unrolled": "s-",
    "bits": "o-",
    "blocks": "^-",
    "tandem": "d-",
    "analog-inference": "k:",
    "spiking-inference": "*:",
}
# What is done with a batch, and the way that its times are multiples of.
PASSES = {"a step of learning": "unrolled", "inference": "analog-inference"}


def grown(curve: "Curve", batch: int) -> float | None:
    """MB that a time step of one item adds, from the fewest steps to the most; None where that is not known."""
    first, last = curve.results[0], curve.results[-1]
    steps: int = curve.values[-1] - curve.values[0]
    if first.working is None or last.working is None or not steps:
        return None
    return (last.working - first.working) / (steps * batch)


def unrolled_rows(curves: Sequence["Curve"], neurons: int, batch: int) -> list[tuple[str, list[list[str]]]]:
    """Tables, each with what it says: of memory and of time, of learning and of inference, and of whole trainings on pictures.

    Columns of the first four: steps. Whole trainings are those with the most steps.

    Args:
        curves: one for each way of `WAYS`.
        neurons: of an item.
        batch: items.
    """
    by_way = {parse_way(curve.system).way: curve for curve in curves}
    tables = []
    for what, base in PASSES.items():
        own = {way: curve for way, curve in by_way.items() if WAYS[way].infers == WAYS[base].infers}
        tables += _pass_rows(what, base, own, neurons, batch)
    results = {way: curve.results[-1] for way, curve in by_way.items()}
    return tables if curves[0].results[0].case.seconds else tables + whole_rows(results, curves[0].values[-1])


def _pass_rows(what: str, base: str, curves: dict[str, "Curve"], neurons: int, batch: int) -> list[tuple[str, list[list[str]]]]:
    """Of memory and of time, by way; times are also multiples of those of the way `base`, at the most steps of each way."""
    values = curves[base].values
    heads = [f"{steps} steps" for steps in values]
    memory, seconds = [["way", *heads, "MB a step", "bits a neuron and step"]], [["way", *heads, f"times {base}"]]
    for way, curve in curves.items():
        results = dict(zip(curve.values, curve.results, strict=True))
        more = grown(curve, batch) if WAYS[way].spikes else None
        added = ["", ""] if more is None else [f"{more:.4f}", f"{more * 8e6 / neurons:.2f}"]
        memory.append([way, *(_cell(results.get(n), "working", ".0f") for n in values), *added])
        last = curves[base].results[values.index(curve.values[-1])]
        ratio = f"{curve.results[-1].elapsed / last.elapsed:.2f}"
        seconds.append([way, *(_cell(results.get(n), "elapsed", ".3g") for n in values), ratio])
    return [(f"\n{MEMORY.format(what=what)}:\n\n", memory), (f"\nTime of {what} (s):\n\n", seconds)]


def _cell(result: "Measurement | None", field: str, digits: str) -> str:
    """A field of a measurement; empty where a way cannot take so many steps, or the system does not tell."""
    number = None if result is None else getattr(result, field)
    return "" if number is None else format(number, digits)


def describe(curves: Sequence["Curve"], neurons: int) -> str:
    """What was measured, in words."""
    case = curves[0].results[0].case
    items = f"mixtures of {case.seconds:g} s" if case.seconds else "pictures of 32 x 32"
    device, held = ("the CPU", ON_CPU) if case.device is None else (case.device, ON_GPU)
    network, most = parse_way(case.system).network, WAYS["tandem"].most
    return SAYS.format(network=network, neurons=neurons, batch=case.batch, items=items, device=device, most=most, held=held)


def draw_unrolled(axes: Sequence["Axes"], curves: Sequence["Curve"]) -> None:
    """Memory and time against the steps, a line for each way."""
    labels = {"memory of a batch (MB)": _memory, "time of a batch (s)": _seconds}
    for axis, (label, quantity) in zip(axes, labels.items(), strict=True):
        for curve in curves:
            way = parse_way(curve.system).way
            heights = [quantity(result) for result in curve.results]
            axis.plot(curve.values, heights, STYLES[way], label=WAYS[way].label, markersize=5)
        axis.set(ylabel=label)
        axis.set_xscale("log")
        axis.set_xticks(curves[0].values, [f"{value:g}" for value in curves[0].values])
        axis.set_xticks([], minor=True)


def _memory(result: "Measurement") -> float:
    return result.memory if result.working is None else result.working


def _seconds(result: "Measurement") -> float:
    return result.elapsed
