"""Training of a separation network, analog or all in tandem: negative SI-SDR, permutation invariant, by Lightning."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback, LearningRateMonitor
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from separator.atomic import make_folder
from separator.errors import DivergedError, UserError
from separator.models.card import ModelCard
from separator.models.files import load_model, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.resume import facts_of, refuse_differences
from separator.tasks.learning.averaging import AveragedWeights
from separator.tasks.problems.separation_loss import mixture_and_sources
from separator.tasks.devices import native_precision
from separator.tasks.learning.checkpoints import checkpoints, fit, load_checkpoint, trainer_options
from separator.tasks.learning.hours import Finish, Heard, write_hours
from separator.tasks.problems.levels import output_gain
from separator.tasks.problems.mixture_data import MixtureData
from separator.tasks.learning.optimisers import make_optimiser
from separator.tasks.penalised import PenalisedTraining
from separator.tasks.learning.schedules import anytime, trapezoid
from separator.tasks.learning.settings import MachineSettings, OptimiserSettings, TrainingSettings

CALIBRATION_BATCHES = 32  # training batches that batch norm's statistics of averaged weights are measured on

# What may differ where a training is gone on with: the machine, what is said of the model, and when training ends.
NOT_OF_THE_RUN = (
    *("machine", "card", "data.workers", "data.cache"),
    *("optimiser.max_epochs", "optimiser.stop_patience", "optimiser.finish", "optimiser.dev_every"),
)
LEARNED = ("epochs", "hours", "history")  # of a model's scores, what still holds when it is trained further
VALIDATION_SETS = ("dev", "held_out")  # in the order of MixtureData.val_dataloader


def pit_loss() -> PITLossWrapper:
    """Negative SI-SDR in dB of the best permutation, zero mean; call with (B, C, T) estimates and sources."""
    return PITLossWrapper(pairwise_neg_sisdr, pit_from="pw_mtx")


def improvement(loss: Tensor, mixture: Tensor, sources: Tensor) -> Tensor:
    """SI-SDRi in dB of a PIT loss (scalar) over the unprocessed mixture as every estimate. Shapes: (B, T), (B, C, T)."""
    unprocessed = pairwise_neg_sisdr(mixture[:, None].expand_as(sources), sources)  # (B, C, C), all estimates alike
    gain: Tensor = unprocessed.mean() - loss
    return gain


class SeparationTraining(PenalisedTraining):
    """Training steps of a `TasNet`; batches are sources, or sources and noise, as `mixture_and_sources` takes them."""

    def __init__(
        self, network: TasNet, optimiser: OptimiserSettings, heard: Heard | None = None, finish: Finish | None = None
    ) -> None:
        super().__init__(network.stack, optimiser.activity_penalty)
        self.save_hyperparameters({"model": network.config.to_dict()})
        self.network = network
        self.loss = pit_loss()
        self.settings, self.finish = optimiser, finish
        self.heard = heard or Heard()
        self.halving: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self.former_halving: dict[str, Any] | None = None

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        """Loss of one batch."""
        loss, gain = self._loss(batch)
        if not torch.isfinite(loss):
            raise DivergedError(
                f"the loss is no number at step {self.trainer.global_step}: training has diverged, and no model was written; "
                "train in another folder with a lower --optimiser.lr"
            )
        self.log("train_loss", loss, on_epoch=True, on_step=False, sync_dist=True)
        self.log("SI-SDRi", gain, prog_bar=True, on_epoch=True, on_step=True, sync_dist=True)
        self.heard.add(batch[:, 0].numel() * self.trainer.world_size / self.network.config.sample_rate)
        return self.penalised(loss, sync_dist=True)

    def validation_step(self, batch: Tensor, index: int, dataloader_idx: int = 0) -> None:
        """Loss on dev mixtures, or on those of speakers held out of training."""
        loss, gain = self._loss(batch)
        name = VALIDATION_SETS[dataloader_idx]
        options: dict[str, Any] = {"sync_dist": True, "add_dataloader_idx": False}
        self.penalised(loss, f"{name}_activity", **options)
        self.log(f"{name}_loss", loss, **options)
        self.log(f"{name}_SI-SDRi", gain, prog_bar=True, **options)

    def _loss(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        mixture, sources = mixture_and_sources(batch, self.network.config.n_src)
        loss: Tensor = self.loss(self.network(mixture).float(), sources)
        return loss, improvement(loss.detach(), mixture, sources)

    def configure_optimizers(self) -> Any:
        """Optimiser and learning-rate schedule."""
        settings = self.settings
        optimiser = make_optimiser(settings.name, dict(self.network.named_parameters()), settings.lr)
        if settings.schedule == "plateau":
            # Stepped here: Lightning does it behind the checkpoint, and a resumed training would forget an epoch.
            self.halving = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=settings.patience - 1)
            if self.former_halving is not None:
                self.halving.load_state_dict(self.former_halving)
            return optimiser
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._rate())
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self) -> Callable[[int], float]:
        """Share of the learning rate at each step."""
        settings = self.settings
        if settings.schedule == "anytime" and self.finish is None:
            return partial(anytime, warmup=settings.warmup)
        total = int(self.trainer.estimated_stepping_batches)
        if self.finish is not None:
            return partial(anytime, warmup=settings.warmup, finish=(total * self.finish.first // self.finish.end, total))
        return partial(trapezoid, total=total, warmup=settings.warmup, decay=max(1, round(settings.decay * total)))

    def on_validation_end(self) -> None:
        """Halve the learning rate where the dev loss stays where it is; take note of what the hours so far came to."""
        if self.halving is not None:
            self.halving.step(self.trainer.callback_metrics["dev_loss"])
        figures = {name: float(value) for name, value in self.trainer.callback_metrics.items() if name.endswith("_SI-SDRi")}
        self.heard.note(figures)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is no weight."""
        checkpoint["heard"] = self.heard.to_dict()
        checkpoint["halving"] = None if self.halving is None else self.halving.state_dict()
        checkpoint["finish"] = None if self.finish is None else asdict(self.finish)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        self.heard = Heard.from_dict(checkpoint.get("heard") or {})
        self.former_halving = checkpoint.get("halving")


def train(
    settings: TrainingSettings, folder: Path, progress: bool = True, log: Callable[[str], None] = lambda text: None
) -> Path:
    """Train, or go on with a training interrupted in `folder`; returns the model file of the lowest dev loss.

    An analog network learns as such. A spiking one, given by `settings.init`, learns with all of its layers in tandem with
    analog twins: the last touch after layer by layer conversion, in which every weight fits to every spike.

    `folder` receives `ann.safetensors` or `snn.safetensors` (the model), `last.ckpt` and `best.ckpt` (Lightning
    checkpoints), and CSV and TensorBoard logs. `log` is called with what is worth a line.

    Raises:
        UserError: the data cannot be used, training diverged, or the folder holds a training with other settings.
    """
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    if settings.machine.threads:
        torch.set_num_threads(settings.machine.threads)
    make_folder(folder)
    last = folder / "last.ckpt"
    state = load_checkpoint(last) if last.exists() else {}
    refuse_differences(state.get("run", {}), facts_of(settings, NOT_OF_THE_RUN), folder)
    network, card = starting_point(settings)
    # A network that has learned goes on with other mixtures than those it began with.
    data = MixtureData(settings.data, network.config, settings.seed, card.scores.get("epochs", 0) if settings.init else 0)
    finish = finish_of(settings, state)
    training = SeparationTraining(network, settings.optimiser, Heard.of_card(card), finish)
    model = folder / f"{card.kind}.safetensors"
    write = partial(_write, training, folder, model, settings, data)
    callbacks = [LambdaCallback(on_train_start=lambda *_: log(describe(network)))]
    if settings.optimiser.schedule == "anytime":
        writing = LambdaCallback(on_train_epoch_start=lambda trainer, _: trainer.is_global_zero and write(only_if_fresh=True))
        callbacks.append(writing)
    trainer = make_trainer(settings, folder, progress, [*averaging(settings, data, card.kind), *callbacks], finish, log)
    fit(trainer, training, data, folder)
    if trainer.is_global_zero:
        write()
    return model


def make_trainer(
    settings: TrainingSettings,
    folder: Path,
    progress: bool,
    callbacks: Sequence[pl.Callback],
    finish: Finish | None,
    log: Callable[[str], None],
) -> pl.Trainer:
    """Lightning's trainer for these settings."""
    machine, optimiser = settings.machine, settings.optimiser
    best, last = checkpoints(folder)
    stopping = [] if optimiser.schedule == "anytime" else [EarlyStopping("dev_loss", patience=optimiser.stop_patience)]
    return pl.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        strategy=machine.strategy,
        precision=precision_of(machine, log),
        max_epochs=optimiser.max_epochs if finish is None else finish.end,
        check_val_every_n_epoch=optimiser.dev_every,
        gradient_clip_val=optimiser.clip,
        callbacks=[*stopping, LearningRateMonitor(), SameRun(settings), *callbacks, best, last],
        logger=[CSVLogger(folder, name="csv"), TensorBoardLogger(str(folder), name="tensorboard")],
        **trainer_options(folder, progress),
    )


def precision_of(machine: MachineSettings, log: Callable[[str], None]) -> Literal["32-true", "bf16-mixed"]:
    """The precision asked for, which is told if the hardware has to imitate it, or the one that is fastest there."""
    native = native_precision(machine.accelerator)
    if machine.precision == "bf16-mixed" != native:
        log("this processor has no multiplication of bfloat16, which is slow without; --machine.precision auto takes 32 bits")
    return native if machine.precision == "auto" else machine.precision


def averaging(settings: TrainingSettings, data: MixtureData, kind: str) -> list[pl.Callback]:
    """The average of the weights, if there shall be one; batch norm of spiking networks keeps its statistics."""
    decay = settings.optimiser.average
    if not 0 <= decay < 1:
        raise UserError(f"the average keeps a share of 0 to below 1 at a step, not {decay}")
    if not decay:
        return []

    def mixtures() -> Iterator[Tensor]:
        for batch in data.calibration_loader(CALIBRATION_BATCHES):
            yield mixture_and_sources(batch, data.model.n_src)[0]

    return [AveragedWeights(decay, "network", mixtures if kind == "ann" else None)]


class SameRun(pl.Callback):
    """Keeps in checkpoints what the training depends on, so that it is not gone on with as another one."""

    def __init__(self, settings: TrainingSettings) -> None:
        self.facts = facts_of(settings, NOT_OF_THE_RUN)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the facts."""
        checkpoint["run"] = self.facts


def finish_of(settings: TrainingSettings, state: Mapping[str, Any]) -> Finish | None:
    """When the rate shall fall and training end: where a stopped training that was at it already had it, else from now on.

    Args:
        settings: of the training.
        state: last checkpoint, empty if there is none.

    Raises:
        UserError: the schedule has no end to be given, or the hours are not above zero.
    """
    hours = settings.optimiser.finish
    if hours is None:
        return None
    if settings.optimiser.schedule != "anytime" or hours <= 0:
        raise UserError(f"finish takes hours above 0 of a training with the schedule anytime, not {hours}")
    begun = state.get("finish")
    if begun is not None and begun["hours"] == hours:
        return Finish(**begun)
    first = state["epoch"] + 1 if state else 0
    epoch = settings.data.epoch_mixtures * settings.data.segment / 3600
    end = first + max(1, round(hours / epoch))
    return Finish(hours, first, end + -end % settings.optimiser.dev_every)  # the last epoch is looked at


def _write(
    training: SeparationTraining,
    folder: Path,
    model: Path,
    settings: TrainingSettings,
    data: MixtureData,
    only_if_fresh: bool = False,
) -> None:
    """Write the model file: of the best epoch or, where training has no end, of the last one, with the log of its hours."""
    if settings.optimiser.schedule != "anytime":
        export(folder / "best.ckpt", model, settings, data)
    elif training.heard.fresh() or not only_if_fresh:
        write_hours(training.heard.rows, folder)
        export(folder / "last.ckpt", model, settings, data)


def starting_point(settings: TrainingSettings) -> tuple[TasNet, ModelCard]:
    """The network as training begins, new or from a model, and its card; the stack of a spiking model is put in tandem.

    Raises:
        UserError: there is no such model, it is damaged, or has other sizes than the settings say.
    """
    named = asdict(settings.card)
    if settings.init is None:
        return TasNet(settings.model), ModelCard(config=settings.model.to_dict(), **named)
    model = load_model(settings.init)
    check_same_sizes(settings, model.network.config)
    network, conversion = model.network.requires_grad_(True), model.card.conversion
    if conversion is not None:
        dynamics = network.stack.unfreeze(settings.optimiser.learn_thresholds, settings.optimiser.weight_bits)
        conversion = conversion | {"weight_bits": dynamics.weight_bits}
    scores = {name: model.card.scores[name] for name in LEARNED if name in model.card.scores}
    return network.train(), replace(model.card, conversion=conversion, scores=scores, **named)


def check_same_sizes(settings: TrainingSettings, found: TasNetConfig) -> None:
    """Say where the sizes in the settings, if there are any, are not those of the model to start from.

    Raises:
        UserError: there are such.
    """
    wanted = asdict(settings.model)
    differing = [f"{name} {value} where the configuration says {wanted[name]}" for name, value in asdict(found).items()
                 if value != wanted[name]]  # fmt: skip
    if differing and settings.model != TasNetConfig():
        raise UserError(
            f"{settings.init} is a network of another architecture ({', '.join(differing)}); leave out --init to train anew, "
            "or give its own sizes"
        )


def describe(network: TasNet) -> str:
    """Size of a network in one line."""
    seconds = network.config.receptive_field / network.config.sample_rate
    parameters = sum(p.numel() for p in network.parameters())
    return f"{parameters:,} parameters, receptive field {seconds:.2f} s"


def export(checkpoint: Path, path: Path, settings: TrainingSettings, data: MixtureData) -> None:
    """Write the network of a Lightning checkpoint as a model file, its level measured on the dev mixtures.

    Raises:
        UserError: there is no such checkpoint, since the dev loss was never finite.
    """
    state = load_checkpoint(checkpoint)
    network, card = starting_point(settings)
    prefix = "network."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in state["state_dict"].items() if k.startswith(prefix)})
    if card.kind == "snn":
        network.stack.freeze()
    scores = {"steps": state["global_step"], "epochs": data.first_epoch + state["epoch"] + 1, **(state.get("heard") or {})}
    gain = output_gain(network.eval(), data.dev_loader(), network.config.n_src)
    save_model(path, network, replace(card, scores=scores, gain=gain))
