"""Conversion of a trained separation network by progressive tandem learning."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from separator.atomic import make_folder
from separator.errors import UserError
from separator.models import load_model, save_model
from separator.models.tasnet import TasNet
from separator.snn.conversion.progressive import Batches, ProgressiveTandemLearning
from separator.snn.conversion.settings import ConversionSettings
from separator.tasks.problems.separation_loss import mixture_and_sources
from separator.tasks.devices import resolve_device
from separator.tasks.fingerprints import origin_of
from separator.tasks.learning.layer_reports import convert_with_reports
from separator.tasks.problems.levels import output_gain
from separator.tasks.problems.mixture_data import DataSettings, MixtureData
from separator.tasks.learning.optimisers import OptimiserName, make_optimiser
from separator.tasks.learning.training import pit_loss
from separator.tasks.learning.settings import CardSettings

# What may differ where a conversion is gone on with; its settings are compared by themselves.
NOT_OF_THE_RUN = ("conversion", "card", "device", "threads", "data.workers", "data.cache")


@dataclass(frozen=True)
class ConversionRun:
    """Everything a conversion depends on."""

    model: str  # name or file of the analog model
    data: DataSettings
    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    card: CardSettings = field(default_factory=lambda: CardSettings(name="snn"))
    optimiser: OptimiserName = "adam"
    seed: int = 1  # of the mixtures, other ones than in training
    device: str = "cpu"
    threads: int = 0  # CPU threads, 0 for all


def convert(run: ConversionRun, folder: Path, log: Callable[[str], None] = print) -> Path:
    """Convert an analog model, or go on with a conversion interrupted in `folder`; returns the spiking model's file.

    `folder` receives `snn.safetensors` (the model), `report.json`, `report.md`, `report.png`, `progress.csv` and
    `progress.png` (each epoch), written anew after each layer, and the network as it was then; and of the analog
    network `activations.csv` and `activations.png` (the paper's Fig. 1).

    Raises:
        UserError: the model or the data cannot be used, or `folder` holds a conversion with other settings.
    """
    make_folder(folder)
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    device = resolve_device(run.device)
    model = load_model(run.model, device)
    if model.card.kind == "snn":
        raise UserError(f"{run.model} is spiking already; convert an analog model")
    network = model.network.requires_grad_(True)
    data = MixtureData(run.data, network.config, run.seed)
    dev_batches = data.dev_loader()
    engine = conversion_engine(
        network,
        # Mixtures of its own for each layer: the same for all would teach them by heart.
        data.layer_loader,
        dev_batches,
        run.conversion,
        folder=folder,
        log=log,
        optimiser=partial(make_optimiser, run.optimiser),
        origin=origin_of(run, NOT_OF_THE_RUN),
    )
    layers = convert_with_reports(engine, folder)
    path = folder / "snn.safetensors"
    conversion = asdict(run.conversion) | {"dev_losses": [layer.loss_tuned for layer in layers]}
    gain = output_gain(network.eval(), dev_batches, network.config.n_src, device)
    save_model(path, network, replace(model.card, conversion=conversion, scores={}, gain=gain, **asdict(run.card)))
    return path


def conversion_engine(
    network: TasNet,
    train_batches: Callable[[int], Batches],
    dev_batches: Batches,
    settings: ConversionSettings,
    **options: Any,
) -> ProgressiveTandemLearning:
    """The conversion of an analog separation network, on batches of `mixture_and_sources`; further options as the engine's."""
    device = next(network.parameters()).device
    pit = pit_loss()

    n_src = network.config.n_src

    def loss(network: nn.Module, batch: Tensor) -> Tensor:
        mixture, sources = mixture_and_sources(batch.to(device), n_src)
        value: Tensor = pit(network(mixture), sources)
        return value

    upstream = [network.encoder, network.norm]
    return ProgressiveTandemLearning(network, network.stack, upstream, loss, train_batches, dev_batches, settings, **options)
