"""Comparison of a backend's spikes with those of our fastest execution, before anything is timed."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from separator.errors import UserError

if TYPE_CHECKING:
    from separator.models.tasnet import TasNet


class SpikeCheck(NamedTuple):
    """Outcome of comparing the spikes of a network."""

    firing_rate: float  # mean spikes per neuron and time step
    same: bool | None  # as those of our fastest execution; None where it is that one, or only rounds behind the last spike


def check_spikes(backend: str, network: "TasNet", mixture: NDArray[np.float32]) -> SpikeCheck | None:
    """Compare all spikes and the readout's potentials of a backend with those of our fastest execution, for equality.

    Args:
        backend: see `SystemName`.
        network: with a stack of ours.
        mixture: (T,).

    Returns:
        None for an analog network, which has none.

    Raises:
        UserError: they differ, or the backend runs no such network.
    """
    import torch

    from separator.snn.execution.chosen import execution
    from separator.snn.observe.activity import record_activity
    from separator.snn.stack.stack import outcomes

    stack = network.stack
    if stack.dynamics is None:
        if backend in ("dense", "spikingjelly"):
            raise UserError(f"'{backend}' is for spiking networks; an analog one runs as it is, or as bf16:NAME")
        return None
    with torch.no_grad():
        seen = network.stack_input(network.encode(torch.from_numpy(mixture)[None]))
    ours, theirs = outcomes(stack, seen), None
    if backend == "dense":
        with execution("dense"):
            theirs = outcomes(stack, seen)
    elif backend == "spikingjelly":
        from separator.snn.export.spikingjelly import SpikingJellyStack

        theirs = SpikingJellyStack(stack).outcomes(seen)
    for position, pair in enumerate(zip(ours, theirs or ours, strict=True)):
        if not torch.equal(*pair):
            raise UserError(f"{backend} fires other spikes than ours from layer {position} on; its time says nothing")
    with torch.no_grad(), record_activity(stack) as activity:
        stack(seen)
    chances = sum(layer.neurons * layer.window for layer in activity.layers[:-1])
    return SpikeCheck(activity.spikes / chances, None if theirs is None else True)
