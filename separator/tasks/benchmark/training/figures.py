"""Speed of a training step, shares of its parts, and how long it would wait for mixtures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from separator.tasks.benchmark.sweeps.plan import TURNS
from separator.tasks.benchmark.systems import parse_system

if TYPE_CHECKING:
    from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement
    from separator.tasks.benchmark.sweeps.plan import Curve

PARTS = ("forward", "backward", "optimiser")
STEPS = (
    "\nSteps of `separator train` on the CPU: the network with its loss, the way back, and then clipping, Muon and the average "
    "of the weights. `learned from`: seconds of mixtures per second of such steps. All cases took turns, {} each; the fastest "
    "round of all turns counts.\n\n"
)
MIXING = (
    "\nSeconds of mixtures that one data worker makes per second, plain / with all augmentations in every mixture, in a room "
    "and in noise, which is more than any recipe asks for; and the share of the time that training would wait for them: where "
    "they are made between steps (`workers: 0`, or a worker without a core of its own), and where a worker has one.\n\n"
)


def sound(case: "BenchmarkCase") -> float:
    """Seconds of mixtures in a step."""
    return (case.batch or 0) * case.seconds


def speed(result: "Measurement") -> float:
    """Seconds of mixtures learned from per second."""
    return sound(result.case) / result.elapsed


def shares(result: "Measurement") -> list[float]:
    """Shares of `PARTS` in the time of a step."""
    return [(getattr(result, part) or 0.0) / result.elapsed for part in PARTS]


def mixing_times(result: "Measurement") -> tuple[float, float]:
    """Seconds that it takes to make the mixtures of a step, plainly and with all augmentations."""
    return result.mixing or 0.0, result.varied or 0.0


def waiting_between_steps(making: float, step: float) -> float:
    """Share of the time in which training waits where mixtures are made between steps; arguments in s."""
    return making / (making + step)


def waiting_beside_steps(making: float, step: float) -> float:
    """Share of the time in which training waits for a worker who makes mixtures during steps; arguments in s."""
    return max(0.0, 1 - step / making)


def describe(case: "BenchmarkCase") -> list[str]:
    """Network, precision as Lightning has it, and threads."""
    backend, name, _ = parse_system(case.system)
    return [name, "bf16-mixed" if backend == "bf16" else "32-true", str(case.threads)]


def training_rows(curves: Sequence["Curve"]) -> list[tuple[str, list[list[str]]]]:
    """Two tables, each with what it says: of the steps, and of the mixing for them."""
    steps = [["network", "precision", "threads", "mixtures in a step", "step (s)", "learned from (s/s)", *PARTS, "memory (MB)"]]
    mixing = [["network", "precision", "threads", "made (s/s)", "waits, made between steps", "waits for one worker"]]
    for result in (result for curve in curves for result in curve.results):
        case, step = result.case, result.elapsed
        parts = [f"{share:.1%}" for share in shares(result)]
        size = f"{case.batch} of {case.seconds:g} s"
        steps.append([*describe(case), size, f"{step:.3g}", f"{speed(result):.3g}", *parts, f"{result.memory:.0f}"])
        made = mixing_times(result)
        columns = (
            [f"{sound(case) / making:.0f}" for making in made],
            [f"{waiting_between_steps(making, step):.1%}" for making in made],
            [f"{waiting_beside_steps(making, step):.1%}" for making in made],
        )
        mixing.append([*describe(case), *(" / ".join(column) for column in columns)])
    return [(STEPS.format(TURNS["train"]), steps), (MIXING, mixing)]
