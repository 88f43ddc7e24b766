"""Costs of a network, and the highest that is run: a model file may ask for any sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from separator.models.tasnet import TasNetConfig
from separator.snn.layers.dynamics import Dynamics

SEGMENT = 12  # seconds that are separated at a time
LOWEST_RATE, HIGHEST_RATE = 1_000, 384_000  # Hz
MOST_TALKERS = 64
MOST_LAYERS = 512
# The published network has 9 million parameters, VGG-16 for ImageNet 460 million synapses once averages are absorbed.
MOST_PARAMETERS = 2**29
# Of the published network with 32 time steps, 0.25e12.
MOST_OPERATIONS = 2 * 10**12
# The same of all steps of a spiking network; of ResNet34 for pictures of 224 x 224 with 2,500 of them, 46e12.
MOST_OVER_STEPS = 5 * 10**13
# Of the published network, 0.04e9.
MOST_NUMBERS = 5 * 10**8


class TooCostlyError(ValueError):
    """A network that is well described, but larger than any that is run."""


@dataclass(frozen=True)
class Cost:
    """Highest costs of a network, whatever it is fed."""

    parameters: int
    operations: int  # multiplications with a weight, for a second of sound or a picture
    numbers: int  # inputs and outputs of layers for a segment of sound and all that it depends on, or for a picture
    steps: int = 1  # most additions of a weight that may stand for one of these operations

    def check(self) -> None:
        """Refuse what is over a limit.

        Raises:
            TooCostlyError: it is; the message names it.
        """
        costs = {
            "parameters": (self.parameters, MOST_PARAMETERS),
            "operations a second or picture": (self.operations, MOST_OPERATIONS),
            "additions of a weight a second or picture": (self.operations * self.steps, MOST_OVER_STEPS),
            "numbers in memory at a time": (self.numbers, MOST_NUMBERS),
        }
        for name, (asked, most) in costs.items():
            if asked > most:
                raise TooCostlyError(f"{asked:.3g} {name}, where at most {most:.3g} are run")


def check_tasnet(config: TasNetConfig, dynamics: Dynamics | None, weights: Sequence[tuple[int, ...]]) -> None:
    """Refuse a separation network that costs too much.

    Args:
        config: its sizes.
        dynamics: how its neurons run; None of an analog network.
        weights: shapes of all of its tensors.

    Raises:
        TooCostlyError: it does; the message says which limit it exceeds.
    """
    if not LOWEST_RATE <= config.sample_rate <= HIGHEST_RATE:
        raise TooCostlyError(f"a sample rate of {config.sample_rate} Hz, where {LOWEST_RATE} to {HIGHEST_RATE} Hz are run")
    if config.n_src > MOST_TALKERS:
        raise TooCostlyError(f"{config.n_src} talkers, where at most {MOST_TALKERS} are told apart")
    parameters = sum(map(prod, weights))
    frames = -(-config.sample_rate // config.stride)  # a second
    held = SEGMENT * frames + config.receptive_field // config.stride
    numbers = config.filter_length + (2 + config.n_src) * config.filters + 2 * config.channels
    Cost(parameters, parameters * frames, held * numbers, steps_of(dynamics)).check()


def steps_of(dynamics: Dynamics | None) -> int:
    """Most synaptic operations that may stand for one analog operation."""
    return dynamics.window if dynamics is not None and dynamics.schedule == "pipelined" else 1
