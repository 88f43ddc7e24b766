"""Ways to run one network: as it is, in bfloat16, in dense floating-point layers, or by SpikingJelly."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from separator.tasks.separation.files import Separator


def run_by(backend: str, separator: "Separator") -> Callable[[NDArray[np.float32]], object]:
    """Make a function that separates a mixture (T,) by a backend: see `SystemName`; "" runs the separator as it is.

    Raises:
        UserError: its network cannot be run so.
    """
    import torch

    from separator.snn.execution.chosen import execution

    network = separator.model.network
    if backend == "spikingjelly":
        from separator.snn.export.spikingjelly import SpikingJellyStack

        network.stack = SpikingJellyStack(network.stack)  # type: ignore[assignment]
        return run_in_segments(network, separator.sample_rate)

    def separate(mixture: NDArray[np.float32]) -> object:
        bf16 = torch.autocast("cpu", torch.bfloat16, enabled=backend == "bf16")
        with bf16, execution("dense" if backend == "dense" else "fastest"):
            return separator.separate(mixture, separator.sample_rate)

    return separate


def run_in_segments(network: "torch.nn.Module", rate: int) -> Callable[[NDArray[np.float32]], object]:
    """Make a function that runs a network without a stream on as many seconds at a time as ours; long sound fills memory."""
    import torch

    from separator.audio.blocks import in_blocks_of
    from separator.tasks.separation.files import SEGMENT

    def separate(mixture: NDArray[np.float32]) -> object:
        with torch.no_grad():
            return [network(torch.tensor(block)) for block in in_blocks_of(round(SEGMENT * rate), [mixture[None]])]

    return separate
