"""What is measured: shipped models, model files, and networks with random weights, each also in other hands."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from separator.errors import UserError
from separator.models.card import split_steps

if TYPE_CHECKING:
    import torch

    from separator.models import SeparationModel
    from separator.models.tasnet import TasNet
    from separator.snn.layers.dynamics import Schedule
    from separator.snn.stack.stack import Stack
    from separator.tasks.separation import Separator

ASTEROID = "asteroid-convtasnet"  # not a model of ours: Asteroid's Conv-TasNet with random weights, for comparison
# Networks of the published size, and the schedule of their spikes; None for an analog one.
PAPER_SIZED: "dict[str, Schedule | None]" = {
    "paper-ann": None,
    "paper-snn": "layer-by-layer",
    "paper-snn-pipelined": "pipelined",
}
HANDS = ("bf16", "dense", "spikingjelly")


class SystemName(NamedTuple):
    """`HANDS:NAME@STEPS`, the first and the last part not always there."""

    hands: str  # one of HANDS, or nothing
    name: str
    steps: int | None


class SpikeCheck(NamedTuple):
    """What the spikes of a network were found to be before it was timed."""

    firing_rate: float  # mean spikes per neuron and time step
    same: bool | None  # as those of our fastest execution; None where it is that one, or only rounds behind the last spike


def parse_system(system: str) -> SystemName:
    """Take a system's name apart.

    Raises:
        UserError: nothing runs a network as its first part says.
    """
    *hands, rest = system.split(":", 1)
    if hands and hands[0] not in HANDS:
        raise UserError(f"nothing runs a network as '{hands[0]}'; take {', '.join(HANDS)}")
    return SystemName(hands[0] if hands else "", *split_steps(rest))


def model_named(name: str, steps: int | None = None, width: int | None = None, rate: float | None = None) -> "SeparationModel":
    """A network with random weights by its name in `PAPER_SIZED`, or else a shipped model or model file.

    Raises:
        UserError: there is no such model, or it cannot be made so.
    """
    from separator.models import load_model

    if name in PAPER_SIZED:
        return random_model(name, steps, width, rate)
    if width is not None or rate is not None:
        raise UserError(
            f"widths and firing rates are of networks with random weights ({', '.join(PAPER_SIZED)}), not of {name}"
        )
    return load_model(name, time_steps=steps)


def random_model(
    name: str, time_steps: int | None = None, width: int | None = None, rate: float | None = None
) -> "SeparationModel":
    """A network of the published depth by its name in `PAPER_SIZED`, of random weights; its thresholds are from noise.

    Batch norm has the statistics of 2 s of noise, so that half of the neurons of a layer are active, as in trained networks.

    Args:
        name: which.
        time_steps: of a spiking network; 32 if None.
        width: filters and channels; 512 as published if None.
        rate: the firing rate that the thresholds of each layer are chosen for, from its analog activations on the noise (see
            `rate_bound`). A layer-by-layer network comes near it; a pipelined one fires more where it is low, since spikes come
            before all of their input is in. None for thresholds of the 99th percentile, about 0.17.

    Raises:
        UserError: there can be no network of that width, or none that fires so much.
    """
    import torch

    from separator.models import ModelCard, SeparationModel
    from separator.models.tasnet import TasNet, TasNetConfig, paper
    from separator.snn.layers.dynamics import Dynamics

    torch.manual_seed(0)
    schedule = PAPER_SIZED[name]
    try:
        config = paper() if width is None else TasNetConfig(filters=width, channels=width)
        network = TasNet(config).eval().requires_grad_(False)
        seen = network.stack_input(network.encode(0.1 * torch.randn(1, 2 * config.sample_rate)))
        settle(network.stack, seen)
        if schedule is not None:
            network.stack.convert(seen, Dynamics(time_steps or 32, 0.5, schedule, weight_bits=8), rate=rate)
    except ValueError as error:
        raise UserError(f"{name} cannot be made: {error}") from error
    return SeparationModel(network, ModelCard(name, network.config.to_dict()))


def settle(stack: "Stack", seen: "torch.Tensor") -> None:
    """Give the batch norm of an analog stack the statistics of one input."""
    import torch

    norms = [module for module in stack.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # the last input alone counts
    stack.train()(seen)
    stack.eval()
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def in_hands(hands: str, separator: "Separator") -> Callable[[NDArray[np.float32]], object]:
    """How a separator is run: as it is, in bfloat16, in dense floating-point layers, or its stack by SpikingJelly.

    Raises:
        UserError: its network cannot be run so.
    """
    import torch

    from separator.snn.execution.chosen import execution

    network = separator.model.network
    if hands == "spikingjelly":
        from separator.snn.export.spikingjelly import SpikingJellyStack

        network.stack = SpikingJellyStack(network.stack)  # type: ignore[assignment]
        return in_segments(network, separator.sample_rate)

    def separate(mixture: NDArray[np.float32]) -> object:
        bf16 = torch.autocast("cpu", torch.bfloat16, enabled=hands == "bf16")
        with bf16, execution("dense" if hands == "dense" else "fastest"):
            return separator.separate(mixture, separator.sample_rate)

    return separate


def in_segments(network: "torch.nn.Module", rate: int) -> Callable[[NDArray[np.float32]], object]:
    """How a network without a stream is run: as many seconds at a time as ours, since long sound does not fit into memory."""
    import torch

    from separator.audio.blocks import in_blocks_of
    from separator.tasks.separation import SEGMENT

    def separate(mixture: NDArray[np.float32]) -> object:
        with torch.no_grad():
            return [network(torch.tensor(block)) for block in in_blocks_of(round(SEGMENT * rate), [mixture[None]])]

    return separate


def check_spikes(hands: str, network: "TasNet", mixture: NDArray[np.float32]) -> SpikeCheck | None:
    """Compare all spikes and the readout's potentials in these hands with those of our fastest execution, for equality.

    Args:
        hands: one of `HANDS`, or nothing.
        network: with a stack of ours.
        mixture: (T,).

    Returns:
        None for an analog network, which has none.

    Raises:
        UserError: they differ, or these hands run no such network.
    """
    import torch

    from separator.snn.execution.chosen import execution
    from separator.snn.spikes.binary import BinarySpikes
    from separator.snn.stack.stack import outcomes

    stack = network.stack
    if stack.dynamics is None:
        if hands in ("dense", "spikingjelly"):
            raise UserError(f"'{hands}' is for spiking networks; an analog one runs as it is, or as bf16:NAME")
        return None
    with torch.no_grad():
        seen = network.stack_input(network.encode(torch.from_numpy(mixture)[None]))
    ours, theirs = outcomes(stack, seen), None
    if hands == "dense":
        with execution("dense"):
            theirs = outcomes(stack, seen)
    elif hands == "spikingjelly":
        from separator.snn.export.spikingjelly import SpikingJellyStack

        theirs = SpikingJellyStack(stack).outcomes(seen)
    for position, pair in enumerate(zip(ours, theirs or ours, strict=True)):
        if not torch.equal(*pair):
            raise UserError(f"{hands} fires other spikes than ours from layer {position} on; its time says nothing")
    window = stack.dynamics.window
    counts = torch.cat([BinarySpikes(window, words=words).counts.flatten() for words in ours[:-1]])
    return SpikeCheck(float(counts.sum(dtype=torch.float64)) / len(counts) / window, None if theirs is None else True)
