"""Training of a network of any problem, by Lightning: new, from a model, or all layers of a spiking one in tandem."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import LambdaCallback, LearningRateMonitor
from torch import Tensor
from torch.optim.swa_utils import update_bn

from separator.atomic import write_text
from separator.errors import DivergedError, UserError
from separator.models.card import ModelCard
from separator.models.files import Network, save_model
from separator.resume import refuse_differences
from separator.snn.learning.tandem import TandemLayer
from separator.tasks.devices import native_precision, resolve_device
from separator.tasks.learning.hours import Finish, Heard, write_hours
from separator.tasks.learning.module import LearningData, LearningModule
from separator.tasks.learning.run.averaging import AveragedWeights
from separator.tasks.learning.run.checkpoints import checkpoints, fit, load_checkpoint, trainer_options
from separator.tasks.learning.run.logs import LoggedEpochs, PatientTensorBoardLogger, ToldEpochs, WholeCSVLogger
from separator.tasks.learning.run.same_run import FACTS, LastingStop, SameRun, SeededSteps
from separator.tasks.learning.settings import OF_THE_END, OF_THE_FINISH, MachineSettings, TrainingSettings, without
from separator.tasks.learning.start import begin_spiking, one_input, starting_point, with_learned_neurons
from separator.tasks.problems.protocol import Data, Problem
from separator.writer import sole_writer

RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")  # variables in which Lightning tells processes that train together apart
CONFIGURATION = "config.yaml"  # in the folder of a training
CALIBRATION_BATCHES = 32  # training batches that batch norm's statistics of averaged weights are measured on

Log = Callable[[str], None]


@dataclass(frozen=True)
class Start:
    """Problem, network, card and data that a training begins with."""

    problem: Problem  # for the network at hand
    network: Network
    card: ModelCard
    data: Data


def train(
    settings: TrainingSettings,
    folder: Path,
    progress: bool = True,
    log: Log = lambda text: None,
    configuration: str | None = None,
) -> Path:
    """Train, or go on with a training interrupted in `folder`; returns the model file of the best epoch.

    An analog network learns as such. A spiking one, given by `settings.init` or asked for by `settings.learning`, learns with
    all of its layers at once; after layer by layer conversion, that is the last touch: every weight fits to every spike.

    `folder` receives `ann.safetensors` or `snn.safetensors` (the model), `last.ckpt` and `best.ckpt` (Lightning
    checkpoints), and CSV and TensorBoard logs. `log` is called with what is worth a line, as each epoch is where there is no
    bar of `progress`. `configuration`, the settings as a file for the command line, is kept in `config.yaml`, once all is found
    good.

    Raises:
        UserError: the data cannot be used or do not fit the network, training diverged, or the folder holds a training with
            other settings, or one that another process is at.
    """
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = resolve_device(settings.device)
    goes_on = bool(former_state(settings, folder))  # which may be of another training
    start = begin(settings, device if trains_alone(settings, device) else "cpu", goes_on)
    if settings.init is not None and start.network.config != settings.problem.network:
        log(f"{settings.init} keeps its own sizes; the usual ones count as none given")
    # Processes that train together write together, and the first of them leads.
    alone = settings.machine.nodes == 1 and not any(int(os.environ.get(name, "0")) for name in RANKS)
    with sole_writer(folder) if alone else nullcontext():
        return _train(settings, folder, start, device, progress, log, configuration)


def _train(
    settings: TrainingSettings,
    folder: Path,
    start: Start,
    device: str,
    progress: bool,
    log: Log,
    configuration: str | None,
) -> Path:
    state = former_state(settings, folder)
    finish = finish_of(settings, state, start.data)
    end = settings.optimiser.max_epochs if finish is None else finish.end
    had = state["epoch"] + 1 if state else 0
    if 0 <= end < had:
        raise UserError(f"{folder} has had {had} epochs; give --optimiser.max_epochs of at least {had}, or another folder")
    sets, heard = tuple(start.data.dev()), Heard.of_card(start.card)
    module = LearningModule(start.network, start.problem.objective, settings.optimiser, sets, heard, finish)
    model = folder / f"{start.card.kind}.safetensors"
    write = partial(_write, module, folder, model, settings, start.data)

    def begun(trainer: pl.Trainer, _: pl.LightningModule) -> None:
        log(start.problem.describe(start.network))
        if configuration is not None and trainer.is_global_zero:
            write_text(folder / CONFIGURATION, configuration)

    callbacks = [
        *averaging(settings, start),
        SeededSteps(settings.seed, start.card.scores.get("epochs", 0)),
        LoggedEpochs(folder, sets),
        LambdaCallback(on_train_start=begun),
        *([] if progress else [ToldEpochs(log)]),
    ]
    if settings.optimiser.schedule == "anytime":
        writing = LambdaCallback(on_train_epoch_start=lambda trainer, _: trainer.is_global_zero and write(only_if_fresh=True))
        callbacks.append(writing)
    trainer = make_trainer(settings, folder, device, progress, callbacks, end, log)
    try:
        fit(trainer, module, LearningData(start.data), folder)
    except DivergedError as error:
        if not settings.optimiser.keep_best:
            raise
        log(f"training ends here: {error}")
    if trainer.is_global_zero:
        write()
    return model


def begin(settings: TrainingSettings, device: str = "cpu", loaded: bool = False) -> Start:
    """Network and data as training begins, or goes on, where what was learned is `loaded` later.

    Raises:
        UserError: see `train`.
    """
    problem, network, card = starting_point(settings)
    # A network that has learned goes on with other batches than those it began with.
    data = problem.open(network, settings.seed, device, card.scores.get("epochs", 0))
    return Start(problem, network, begin_spiking(network, card, settings, problem.objective, data, loaded), data)


def former_state(settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    """The last checkpoint of a training that is gone on with, empty if there is none.

    Raises:
        UserError: it is of a training with other settings, or of an earlier version.
    """
    last = folder / "last.ckpt"
    state = load_checkpoint(last) if last.exists() else {}
    if state:
        before, now = known_facts(state, folder), without(settings.facts, OF_THE_END)
        if settings.optimiser.finish is not None and before.get(OF_THE_FINISH) and now[OF_THE_FINISH]:
            now = without(now, (OF_THE_FINISH,))
        refuse_differences(before, now, folder)
    return state


def known_facts(state: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Facts that the training in a folder depended on, from a checkpoint.

    Raises:
        UserError: the checkpoint is of an earlier version, and does not say.
    """
    facts: dict[str, Any] = state.get(FACTS, {})
    if "problem" not in facts:
        raise UserError(
            f"{folder} holds a training begun by an earlier version of this program, which cannot be gone on with; take "
            "another folder, and --init with its model to start from that"
        )
    return facts


def make_trainer(
    settings: TrainingSettings,
    folder: Path,
    device: str,
    progress: bool,
    callbacks: Sequence[pl.Callback],
    end: int,
    log: Log,
) -> pl.Trainer:
    """Lightning's trainer for these settings, until the epoch `end`; -1 for no end.

    Raises:
        UserError: `machine` asks for devices, a strategy or a precision that there is none of.
    """
    machine, optimiser = settings.machine, settings.optimiser
    best, last = checkpoints(folder, settings.problem.objective.score if optimiser.best == "score" else None)
    patience = None if optimiser.schedule == "anytime" else optimiser.stop_patience
    stopping = [] if patience is None else [LastingStop(patience)]
    devices, precision = devices_of(settings, device), precision_of(machine, device, log)
    try:
        return pl.Trainer(
            accelerator=device.partition(":")[0],
            devices=devices,
            num_nodes=machine.nodes,
            strategy=machine.strategy,
            precision=precision,
            max_epochs=end,
            check_val_every_n_epoch=optimiser.dev_every,
            gradient_clip_val=optimiser.clip,
            callbacks=[*stopping, LearningRateMonitor(), SameRun(settings), *callbacks, best, last],
            logger=[WholeCSVLogger(folder, name="csv"), PatientTensorBoardLogger(str(folder), name="tensorboard")],
            **trainer_options(folder, progress),
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise UserError(f"no machine to train on is what --machine asks for: {' '.join(str(error).split())}") from error


def devices_of(settings: TrainingSettings, device: str) -> int | str | list[int]:
    """Number of devices that train, or the one that does, where the device has a number.

    Raises:
        UserError: a problem whose epochs cannot be shared shall be learned by several.
    """
    devices, nodes, unshared = settings.machine.devices, settings.machine.nodes, settings.problem.unshared
    if unshared and (nodes > 1 or devices not in ("auto", 1, "1")):
        what, count = ("nodes", nodes) if nodes > 1 else ("devices", devices)
        raise UserError(f"{unshared}, not by {count} {what}; leave out --machine.{what}")
    _, colon, number = device.partition(":")
    if colon:
        return [int(number)]
    return 1 if unshared else devices


def trains_alone(settings: TrainingSettings, device: str) -> bool:
    """Whether one device has each epoch for itself; else Lightning shares out what loaders on the CPU give.

    Raises:
        UserError: as of `devices_of`.
    """
    devices, nodes = devices_of(settings, device), settings.machine.nodes
    several = device == "cuda" and torch.cuda.device_count() > 1
    return nodes == 1 and (devices in (1, "1") or isinstance(devices, list) or (devices == "auto" and not several))


def precision_of(machine: MachineSettings, device: str, log: Log) -> Literal["32-true", "bf16-mixed"]:
    """The precision asked for, which is told if the hardware has to imitate it, or the one that is fastest there."""
    native, wanted = native_precision(device.partition(":")[0]), machine.precision
    if wanted == "bf16-mixed" != native:
        log("this processor has no multiplication of bfloat16, which is slow without; --machine.precision auto takes 32 bits")
    return native if wanted == "auto" else wanted


def averaging(settings: TrainingSettings, start: Start) -> list[pl.Callback]:
    """The average of the weights, if there shall be one, with statistics of its own where batch norm learns them."""
    if not settings.optimiser.average:
        return []
    return [AveragedWeights(settings.optimiser.average, "network", inputs_of_statistics(start))]


def inputs_of_statistics(start: Start) -> Callable[[], Iterator[Tensor]] | None:
    """Inputs that batch norm's statistics of averaged weights are measured on; None where batch norm learns none."""

    def inputs() -> Iterator[Tensor]:
        for batch in start.data.calibration(CALIBRATION_BATCHES):
            yield start.problem.objective.inputs(batch)

    learning = [layer.batch_statistics for layer in start.network.stack.layers if isinstance(layer, TandemLayer)]
    return inputs if start.card.kind == "ann" or any(learning) else None


def finish_of(settings: TrainingSettings, state: Mapping[str, Any], data: Data) -> Finish | None:
    """When the rate shall fall and training end: where a stopped training that was at it already had it, else from now on.

    Args:
        settings: of the training.
        state: last checkpoint, empty if there is none.
        data: that is learned from.
    """
    hours = settings.optimiser.finish
    if hours is None:
        return None
    begun = state.get("finish")
    if begun is not None and begun["hours"] == hours:
        return Finish(**begun)
    first = state["epoch"] + 1 if state else 0
    end = first + max(1, round(hours / (data.epoch_seconds / 3600)))
    return Finish(hours, first, end + -end % settings.optimiser.dev_every)  # the last epoch is looked at


def _write(
    module: LearningModule,
    folder: Path,
    model: Path,
    settings: TrainingSettings,
    data: Data,
    only_if_fresh: bool = False,
) -> None:
    """Write the model file: of the best epoch or, where training has no end, of the last one, with the log of its hours."""
    if settings.optimiser.schedule != "anytime":
        export(folder / "best.ckpt", model, settings, data)
    elif module.heard.fresh() or not only_if_fresh:
        if module.heard.hours:
            write_hours(module.heard.rows, folder)
        export(folder / "last.ckpt", model, settings, data)


def export(checkpoint: Path, path: Path, settings: TrainingSettings, data: Data) -> None:
    """Write the network of a Lightning checkpoint as a model file, with what is found of it.

    Raises:
        UserError: there is no such checkpoint, since the dev loss was never finite.
    """
    state = load_checkpoint(checkpoint)
    problem, network, card = starting_point(settings)
    card = begin_spiking(network, card, settings, problem.objective, data, loaded=True)
    prefix = "network."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in state["state_dict"].items() if k.startswith(prefix)})
    looked_at = (state["epoch"] + 1) % settings.optimiser.dev_every == 0
    if settings.optimiser.average and not looked_at and (inputs := inputs_of_statistics(Start(problem, network, card, data))):
        update_bn(inputs(), network, torch.device("cpu"))  # as each look at what is held out does before it
    network.eval().requires_grad_(False)
    if card.kind == "snn":
        with torch.no_grad():
            network(one_input(problem.objective, data).cpu())  # sizes of what comes in are known from then on
        network.stack.freeze()
        card = with_learned_neurons(card, network)
    heard = Heard.from_dict(state.get("heard") or {}).to_dict()
    scores = {"steps": state["global_step"], "epochs": card.scores.get("epochs", 0) + state["epoch"] + 1}
    scores |= heard if heard["hours"] else {}
    found = problem.findings(network, data)
    named = settings.card.of_learner(card, found.training_data)
    save_model(path, network, replace(card, scores=scores | dict(found.scores), gain=found.gain, **named))
