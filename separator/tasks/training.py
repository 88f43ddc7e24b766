"""Training of a separation network, analog or all in tandem: negative SI-SDR, permutation invariant, by Lightning."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback, LearningRateMonitor
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from separator.atomic import make_folder
from separator.models.card import ModelCard
from separator.models.files import load_model, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.tasks.batches import mixture_and_sources
from separator.tasks.fitting import checkpoints, fit, load_checkpoint, trainer_options
from separator.tasks.levels import output_gain
from separator.tasks.mixture_data import DataSettings, MixtureData
from separator.tasks.optimisers import OptimiserName, make_optimiser
from separator.tasks.penalised import PenalisedTraining

VALIDATION_SETS = ("dev", "held_out")  # in the order of MixtureData.val_dataloader


@dataclass(frozen=True)
class OptimiserSettings:
    """How to train."""

    name: OptimiserName = "adam"
    lr: float = 1e-3
    # plateau: halve after `patience` bad epochs; trapezoid: constant, then linearly to zero over `decay` of all epochs
    schedule: Literal["plateau", "trapezoid"] = "plateau"
    patience: int = 3  # epochs
    stop_patience: int = 10  # epochs without improvement after which training stops
    warmup: int = 0  # steps, trapezoid only
    decay: float = 0.3  # share of all steps, trapezoid only
    max_epochs: int = 100
    clip: float = 5.0  # norm of the gradient
    learn_thresholds: bool = False  # of a spiking network
    weight_bits: int | None = None  # of a spiking network's synaptic weights, if fewer than they have
    activity_penalty: float = 0.0  # weight of the activity in the loss, in dB; see ActivityPenalty


@dataclass(frozen=True)
class MachineSettings:
    """Where to train; passed to Lightning."""

    accelerator: str = "auto"
    devices: int | str = "auto"
    nodes: int = 1
    strategy: str = "auto"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    threads: int = 0  # CPU threads, 0 for all


@dataclass(frozen=True)
class CardSettings:
    """What the model file says about where the model comes from."""

    name: str = "ann"
    description: str = ""
    training_data: str = ""
    licence: str = ""


@dataclass(frozen=True)
class TrainingSettings:
    """Everything a training run depends on."""

    data: DataSettings
    card: CardSettings = field(default_factory=CardSettings)
    model: TasNetConfig = field(default_factory=TasNetConfig)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
    init: str | None = None  # model to start from, by name or file; its sizes hold then, and a spiking one stays spiking
    seed: int = 0


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

    def __init__(self, network: TasNet, optimiser: OptimiserSettings) -> None:
        super().__init__(network.stack, optimiser.activity_penalty)
        self.save_hyperparameters({"model": network.config.to_dict()})
        self.network = network
        self.loss = pit_loss()
        self.settings = optimiser

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        """Loss of one batch."""
        loss, gain = self._loss(batch)
        self.log("train_loss", loss, on_epoch=True, on_step=False, sync_dist=True)
        self.log("SI-SDRi", gain, prog_bar=True, on_epoch=True, on_step=True, sync_dist=True)
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
            halving = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=settings.patience - 1)
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": halving, "monitor": "dev_loss"}}
        total = int(self.trainer.estimated_stepping_batches)
        decay = max(1, round(settings.decay * total))

        def trapezoid(step: int) -> float:
            return max(0.0, min(1.0, (step + 1) / max(1, settings.warmup), (total - step) / decay))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, trapezoid)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(
    settings: TrainingSettings, folder: Path, progress: bool = True, log: Callable[[str], None] = lambda text: None
) -> Path:
    """Train, or go on with a training interrupted in `folder`; returns the model file of the lowest dev loss.

    An analog network learns as such. A spiking one, given by `settings.init`, learns with all of its stages in tandem with
    analog twins: the last touch after stage by stage conversion, in which every weight fits to every spike.

    `folder` receives `ann.safetensors` or `snn.safetensors` (the model), `last.ckpt` and `best.ckpt` (Lightning
    checkpoints), and CSV and TensorBoard logs. `log` is called with what is worth a line.

    Raises:
        UserError: the data cannot be used, or training diverged.
    """
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    if settings.machine.threads:
        torch.set_num_threads(settings.machine.threads)
    make_folder(folder)
    best, last = checkpoints(folder)
    trainer = pl.Trainer(
        accelerator=settings.machine.accelerator,
        devices=settings.machine.devices,
        num_nodes=settings.machine.nodes,
        strategy=settings.machine.strategy,
        precision=settings.machine.precision,
        max_epochs=settings.optimiser.max_epochs,
        gradient_clip_val=settings.optimiser.clip,
        callbacks=[EarlyStopping("dev_loss", patience=settings.optimiser.stop_patience), LearningRateMonitor(), best, last],
        logger=[CSVLogger(folder, name="csv"), TensorBoardLogger(str(folder), name="tensorboard")],
        **trainer_options(folder, progress),
    )
    network, card = starting_point(settings)
    data = MixtureData(settings.data, network.config, settings.seed)
    if trainer.is_global_zero:
        trainer.callbacks.append(LambdaCallback(on_train_start=lambda *_: log(describe(network))))  # type: ignore[attr-defined]
    fit(trainer, SeparationTraining(network, settings.optimiser), data, folder)
    model = folder / f"{card.kind}.safetensors"
    if trainer.is_global_zero:
        export(Path(best.best_model_path), model, settings, data)
    return model


def starting_point(settings: TrainingSettings) -> tuple[TasNet, ModelCard]:
    """The network as training begins, new or from a model, and its card; the stack of a spiking model is put in tandem.

    Raises:
        UserError: there is no such model, or it is damaged.
    """
    named = asdict(settings.card)
    if settings.init is None:
        return TasNet(settings.model), ModelCard(config=settings.model.to_dict(), **named)
    model = load_model(settings.init)
    network, conversion = model.network.requires_grad_(True), model.card.conversion
    if conversion is not None:
        dynamics = network.stack.unfreeze(settings.optimiser.learn_thresholds, settings.optimiser.weight_bits)
        conversion = conversion | {"weight_bits": dynamics.weight_bits}
    return network.train(), replace(model.card, conversion=conversion, scores={}, **named)


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
    scores = {"steps": state["global_step"], "epochs": state["epoch"] + 1}
    gain = output_gain(network.eval(), data.dev_loader(), network.config.n_src)
    save_model(path, network, replace(card, scores=scores, gain=gain))
