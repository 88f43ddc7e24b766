"""Conversion of analog networks for images by progressive tandem learning."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from separator.atomic import make_folder
from separator.errors import UserError
from separator.models.feedforward import FeedForward
from separator.models.files import load_network, save_model
from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.observe.hardware import HardwareProfile
from separator.tasks.devices import resolve_device
from separator.tasks.fingerprints import origin_of
from separator.tasks.problems.image_data import SCORES, ImageBatches, ImageSettings, image_loss, image_measure, score
from separator.tasks.images.fit import check_fit
from separator.tasks.images.training import epoch_seed, train_batches
from separator.tasks.learning.layer_reports import convert_with_reports

# What may differ where a conversion is gone on with; its settings, the chip's limits in them, are compared by themselves.
NOT_OF_THE_RUN = ("conversion", "hardware", "name", "device", "threads", "data.workers")


@dataclass(frozen=True)
class ImageConversionRun:
    """Everything a conversion depends on."""

    model: str  # file of the analog model
    data: ImageSettings
    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    hardware: HardwareProfile = field(default_factory=HardwareProfile)  # that the spiking network has to fit
    name: str = "snn"  # of the spiking model
    seed: int = 1  # of the order of the images, another one than in training
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all


def convert_images(run: ImageConversionRun, folder: Path, log: Callable[[str], None] = print) -> Path:
    """Convert an analog model, or go on with a conversion interrupted in `folder`; returns the spiking model's file.

    `folder` receives `snn.safetensors` (the model), `report.json`, `report.md`, `report.png`, `progress.csv` and
    `progress.png` (each epoch; the paper's Fig. 5), written anew after each layer, and the network as it was then; and of the
    analog network `activations.csv` and `activations.png` (the paper's Fig. 1).

    Raises:
        UserError: the model or the images cannot be used, the network does not fit the hardware, or `folder` holds a conversion
            with other settings.
    """
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    device = resolve_device(run.device)
    network, card = load_network(run.model, device)
    if not isinstance(network, FeedForward):
        raise UserError(f"{run.model} is no network for images")
    if card.kind == "snn":
        raise UserError(f"{run.model} is spiking already; convert an analog model")
    goal = card.goal
    images = run.data.read()
    check_fit(network, goal, images)
    conversion = run.hardware.constrained(run.conversion)
    picture, _ = next(iter(ImageBatches(images.test.take(slice(1)), 1, device=device)))
    run.hardware.check_sizes(network, picture)
    make_folder(folder)
    network.requires_grad_(True)
    batches = train_batches(images, run.data, run.seed, device)
    engine = ProgressiveTandemLearning(
        network,
        network.stack,
        upstream=[],
        loss=image_loss(goal),
        # An order of its own for each layer; within a layer it stays, so that the trains of frozen layers can be kept.
        train_batches=lambda layer: batches.with_seed(epoch_seed(run.seed, layer)),
        dev_batches=ImageBatches(images.dev, run.data.dev_batch, device=device),
        settings=conversion,
        folder=folder,
        log=log,
        measure=image_measure(goal),
        origin=origin_of(run, NOT_OF_THE_RUN),
        watched={"test": ImageBatches(images.test.take(slice(run.data.watched)), run.data.dev_batch, device=device)},
    )
    layers = convert_with_reports(engine, folder, SCORES[goal])
    facts = {
        "readout": network.stack.readout,
        "dev_losses": [layer.loss_tuned for layer in layers],
        "hardware": run.hardware.verify(network, network.stack, picture),
    }
    epochs = sum(layer.epochs for layer in layers)
    test = score(network, goal, images.test, run.data.dev_batch)
    scores = {"goal": goal, "epochs": epochs, "test": test, "ann test": card.scores.get("test")}
    path = folder / "snn.safetensors"
    done = replace(card, name=run.name, conversion=asdict(conversion) | facts, scores=scores)
    save_model(path, network.requires_grad_(False), done)
    return path
