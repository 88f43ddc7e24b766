"""Conversion of a trained network of any problem by progressive tandem learning."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from separator.errors import UserError
from separator.models.card import ModelCard
from separator.models.files import Network, load_network, save_model
from separator.snn.conversion.hardware import HardwareProfile
from separator.snn.conversion.progressive import STATE, Batches, ProgressiveTandemLearning
from separator.snn.conversion.settings import ConversionSettings
from separator.tasks.devices import resolve_device
from separator.tasks.fingerprints import model_fingerprint
from separator.tasks.learning.layer_reports import convert_with_reports
from separator.tasks.learning.optimisers import OptimiserName, make_optimiser
from separator.tasks.learning.settings import OF_THE_MACHINE, CardSettings, run_facts
from separator.tasks.learning.start import one_input
from separator.tasks.problems.protocol import Data, Findings, Objective, Problem
from separator.writer import sole_writer


@dataclass(frozen=True)
class TuningSettings(ConversionSettings):
    """Settings of a conversion, and of the optimiser that tunes the layers."""

    optimiser: OptimiserName = "adam"  # adam as published, or muon


@dataclass(frozen=True)
class ConversionRun:
    """Everything a conversion depends on."""

    problem: Problem
    init: str  # name or file of the analog model
    conversion: TuningSettings = field(default_factory=TuningSettings)
    hardware: HardwareProfile = field(default_factory=HardwareProfile)  # that the spiking network has to fit
    card: CardSettings = field(default_factory=CardSettings)
    seed: int = 1  # of the batches, other ones than in training
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all

    def __post_init__(self) -> None:
        self.conversion.check_window()

    @property
    def origin(self) -> dict[str, Any]:
        """Facts that the conversion depends on beside its own settings, which the limits of the hardware are in."""
        free = ["init", "conversion", "hardware", *OF_THE_MACHINE, *self.problem.of_the_machine]
        return run_facts(self, free) | {"init": model_fingerprint(self.init)}


def convert(run: ConversionRun, folder: Path, log: Callable[[str], None] = print) -> Path:
    """Convert an analog model, or go on with a conversion interrupted in `folder`; returns the spiking model's file.

    `folder` receives `snn.safetensors` (the model), `report.json`, `report.md`, `report.png`, `progress.csv` and
    `progress.png` (each epoch; the paper's Fig. 5), written anew after each layer (pictures every few seconds and at the end),
    and the network as it was then; and of the analog network `activations.csv` and `activations.png` (the paper's Fig. 1).

    Raises:
        UserError: the model or the data cannot be used, the network does not fit the hardware, or `folder` holds a conversion
            with other settings, or one that another process is at.
    """
    if run.threads:
        torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    device = resolve_device(run.device)
    network, card = load_network(run.init, device)
    if card.kind == "snn":
        raise UserError(f"{run.init} is spiking already; convert an analog model")
    run = replace(run, problem=run.problem.of_model(network, card))
    data = run.problem.open(network, run.seed, device)
    settings = run.hardware.constrained(run.conversion)
    assert isinstance(settings, TuningSettings)
    example = one_input(run.problem.objective, data).to(device)
    run.hardware.check_sizes(network, example)
    refuse_earlier(folder)
    with sole_writer(folder):
        return _convert(run, settings, network, card, data, example, folder, log)


def _convert(
    run: ConversionRun,
    settings: TuningSettings,
    network: Network,
    card: ModelCard,
    data: Data,
    example: Tensor,
    folder: Path,
    log: Callable[[str], None],
) -> Path:
    network.requires_grad_(True)
    objective = run.problem.objective
    options = {"folder": folder, "log": log, "origin": run.origin, "measure": objective.measure, "watched": data.watched()}
    engine = conversion_engine(network, objective, data.layer, data.dev()["dev"], settings, **options)
    layers = convert_with_reports(engine, folder, objective.score.title)
    facts = {
        "readout": network.stack.readout,
        "epochs": sum(layer.epochs for layer in layers),
        "dev_losses": [layer.loss_tuned for layer in layers],
        "hardware": run.hardware.verify(network, network.stack, example),
    }
    found = run.problem.findings(network.eval().requires_grad_(False), data)
    path = folder / "snn.safetensors"
    save_model(path, network, converted_card(card, run.card, asdict(settings) | facts, found))
    return path


def converted_card(analog: ModelCard, settings: CardSettings, conversion: dict[str, Any], found: Findings) -> ModelCard:
    """The card of a network that was converted from that of an analog one, whose scores stand beside its own."""
    both = [name for name, value in found.scores.items() if isinstance(value, float) and name in analog.scores]
    scores = {**found.scores, **{f"ann {name}": analog.scores[name] for name in both}}
    named, name = settings.of_learner(analog, found.training_data), settings.name or "snn"
    return replace(analog, name=name, conversion=conversion, scores=scores, gain=found.gain, **named)


def conversion_engine(
    network: Network,
    objective: Objective,
    train_batches: Callable[[int], Batches],
    dev_batches: Batches,
    settings: ConversionSettings,
    **options: Any,
) -> ProgressiveTandemLearning:
    """The conversion of an analog network to an objective; further options as the engine's."""
    name = settings.optimiser if isinstance(settings, TuningSettings) else "adam"
    return ProgressiveTandemLearning(
        network,
        network.stack,
        objective.upstream(network),
        objective.loss,
        train_batches,
        dev_batches,
        settings,
        optimiser=partial(make_optimiser, name),
        **options,
    )


def refuse_earlier(folder: Path) -> None:
    """Say where a folder holds a conversion of an earlier version.

    Raises:
        UserError: it does.
    """
    state = conversion_state(folder)
    if state is not None and "problem" not in state.get("origin", {}):
        raise UserError(f"{folder} holds a conversion begun by an earlier version of this program; take another folder")


def conversion_state(folder: Path) -> dict[str, Any] | None:
    """State of the conversion in a folder: how far it is, and what it depends on; None if there is none, or it is damaged."""
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # the engine says what is wrong
    return state
