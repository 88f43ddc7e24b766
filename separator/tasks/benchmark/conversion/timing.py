"""Time of one step of progressive tandem learning: frozen spiking layers, the layer in tandem, the analog ones after it."""

from itertools import islice
from typing import TYPE_CHECKING, Any

from separator.errors import UserError
from separator.tasks.benchmark.networks import find_model
from separator.tasks.benchmark.systems import parse_system

if TYPE_CHECKING:
    from separator.tasks.benchmark.measurement import BenchmarkCase

BATCH = 8  # mixtures, as in the recipes


def measure_conversion(case: "BenchmarkCase") -> dict[str, Any]:
    """Train on one batch of noise in the conversion of layer `case.layer`, in this process.

    It is the conversion of `separator convert` itself, pipelined and with the published settings, without tuning of the
    layers before and with the time window of `NAME@WINDOW`, by default 32. A step charges and simulates the frozen layers,
    runs the layer in tandem and the analog ones, goes backward, clips the gradient and moves the parameters. `dense:NAME` has
    all that spikes simulated in dense floating-point layers.

    Returns:
        `elapsed` and `kept` of a `Measurement`.

    Raises:
        UserError: the network is not an analog one, or has no such layer.
    """
    import torch

    from separator.snn.conversion.settings import ConversionSettings
    from separator.snn.execution.chosen import execution
    from separator.tasks.benchmark.measurement import fastest
    from separator.tasks.learning.conversion import conversion_engine
    from separator.tasks.problems.separation_loss import SeparationObjective

    backend, name, steps = parse_system(case.system)
    network = find_model(name, width=case.width).network.requires_grad_(True)
    layers = len(network.stack.layers)
    if backend not in ("", "dense") or network.stack.dynamics is not None or not 0 <= (case.layer or 0) < layers:
        raise UserError(f"conversion is timed of an analog network, NAME or dense:NAME, layers 0 to {layers - 1}")
    torch.manual_seed(0)
    config = network.config
    batch = 0.1 * torch.randn(BATCH, config.n_src, round(case.seconds * config.sample_rate))
    few = [batch[:1]]  # enough for thresholds
    settings = ConversionSettings(window=steps or 32, max_epochs=0, calibration_batches=1)
    objective = SeparationObjective(config.n_src, config.sample_rate)
    engine = conversion_engine(
        network, objective, lambda index: [batch] if index == case.layer else few, few, settings, log=lambda line: None
    )
    for _ in islice(engine.layers(), case.layer):
        pass
    engine.put_in_tandem(case.layer or 0)
    optimiser = engine.make_optimiser(case.layer or 0)

    def step() -> None:
        engine.train_epoch(*optimiser)

    def step_anew() -> None:
        engine.prefixes.clear()
        step()

    with execution("dense" if backend == "dense" else "fastest"):
        return {"elapsed": fastest(step_anew), "kept": fastest(step)}
