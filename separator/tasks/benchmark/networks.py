"""Networks that are measured: shipped models, model files, and networks with random weights."""

from typing import TYPE_CHECKING

from separator.errors import UserError
from separator.tasks.benchmark.systems import RANDOM_NETWORKS

if TYPE_CHECKING:
    import torch

    from separator.models import SeparationModel
    from separator.snn.stack.stack import Stack


def find_model(name: str, steps: int | None = None, width: int | None = None, rate: float | None = None) -> "SeparationModel":
    """Make a network with random weights by its name in `RANDOM_NETWORKS`, or else load a shipped model or model file.

    Raises:
        UserError: there is no such model, or it cannot be made so.
    """
    from separator.models import load_model

    if name in RANDOM_NETWORKS:
        return random_model(name, steps, width, rate)
    if width is not None or rate is not None:
        raise UserError(
            f"widths and firing rates are of networks with random weights ({', '.join(RANDOM_NETWORKS)}), not of {name}"
        )
    return load_model(name, window=steps)


def random_model(
    name: str, window: int | None = None, width: int | None = None, rate: float | None = None
) -> "SeparationModel":
    """A network of the published depth by its name in `RANDOM_NETWORKS`, of random weights; its thresholds are from noise.

    Batch norm has the statistics of 2 s of noise, so that half of the neurons of a layer are active, as in trained networks.

    Args:
        name: which.
        window: of a spiking network; 32 if None.
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
    schedule = RANDOM_NETWORKS[name]
    try:
        config = paper() if width is None else TasNetConfig(filters=width, channels=width)
        network = TasNet(config).eval().requires_grad_(False)
        seen = network.stack_input(network.encode(0.1 * torch.randn(1, 2 * config.sample_rate)))
        set_batch_norm(network.stack, seen)
        if schedule is not None:
            network.stack.convert(seen, Dynamics(window or 32, 0.5, schedule, weight_bits=8), rate=rate)
    except ValueError as error:
        raise UserError(f"{name} cannot be made: {error}") from error
    return SeparationModel(network, ModelCard(name, network.config.to_dict()))


def set_batch_norm(stack: "Stack", seen: "torch.Tensor") -> None:
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
