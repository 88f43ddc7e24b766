"""Whole trainings and inferences of a set, as Fig. 5 of Rathi et al. 2020 compares them, from what one batch takes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from separator.tasks.benchmark.measurement import Measurement

# As appendix B has them: "ANN and SNN require 250 epochs of training from scratch, hybrid conversion-and-STDB based training
# requires 250 epochs of ANN training followed by 20 epochs of spike-based backpropagation". CIFAR-10 has so many pictures.
EPOCHS, TUNING_EPOCHS = 250, 20
PICTURES, TEST_PICTURES = 50_000, 10_000


class Training(NamedTuple):
    """A whole training."""

    name: str
    epochs: Mapping[str, int]  # of each way of `WAYS`, in their order


# The paper's hybrid technique tunes by automatic differentiation, which costs as much a step as training from scratch.
TRAININGS = (
    Training("ANN", {"analog": EPOCHS}),
    Training("SNN from scratch", {"unrolled": EPOCHS}),
    Training("hybrid, unrolled", {"analog": EPOCHS, "unrolled": TUNING_EPOCHS}),
    Training("hybrid, from spike bits", {"analog": EPOCHS, "bits": TUNING_EPOCHS}),
)
INFERENCES = {"ANN": "analog-inference", "SNN, however trained": "spiking-inference"}


def set_seconds(result: "Measurement", pictures: int) -> float:
    """Seconds that so many pictures take, in batches like the measured one."""
    return result.elapsed * pictures / (result.case.batch or 1)


def training_seconds(training: Training, results: Mapping[str, "Measurement"]) -> float:
    """Seconds of all epochs of a training, from one measured step of each of its ways."""
    return sum(epochs * set_seconds(results[way], PICTURES) for way, epochs in training.epochs.items())


def whole_rows(results: Mapping[str, "Measurement"], steps: int) -> list[tuple[str, list[list[str]]]]:
    """Two tables, each with what it says: of whole trainings, and of inferring all test pictures.

    Args:
        results: one for each way of `WAYS`, at the same number of steps.
        steps: that number.
    """
    trainings = [["training", "epochs", "the last epoch (s)", "all epochs (h)", *_heads("time")]]
    first = training_seconds(TRAININGS[0], results)
    least = results["analog"].memory
    for training in TRAININGS:
        seconds = training_seconds(training, results)
        last = set_seconds(results[list(training.epochs)[-1]], PICTURES)
        memory = max(results[way].memory for way in training.epochs)
        said = " + ".join(f"{epochs} {way}" for way, epochs in training.epochs.items())
        trainings.append([training.name, said, _plain(last), _plain(seconds / 3600), *_ratios(seconds / first, memory, least)])
    inferences = [["inference", f"{TEST_PICTURES:,} pictures (s)", *_heads("time")]]
    base = results[INFERENCES["ANN"]]
    for name, way in INFERENCES.items():
        seconds, ratio = set_seconds(results[way], TEST_PICTURES), results[way].elapsed / base.elapsed
        inferences.append([name, _plain(seconds), *_ratios(ratio, results[way].memory, base.memory)])
    epochs = f"an epoch is {PICTURES:,} pictures, as of CIFAR-10"
    return [
        (f"\nWhole trainings with {steps} steps, as many times the measured step as they have; {epochs}:\n\n", trainings),
        (f"\nInference of {TEST_PICTURES:,} pictures with {steps} steps, likewise:\n\n", inferences),
    ]


def _heads(quantity: str) -> Sequence[str]:
    return f"{quantity} / the ANN's", "memory in all (MB)", "memory / the ANN's"


def _ratios(time: float, memory: float, least: float) -> Sequence[str]:
    return f"{time:.2f}", f"{memory:.0f}", f"{memory / least:.2f}"


def _plain(number: float) -> str:
    """Three digits, or all in front of the point."""
    return f"{number:.3g}" if number < 1000 else f"{number:,.0f}"
