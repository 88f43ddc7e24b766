"""Training of networks for images, by Lightning (Wu et al. 2021, section 5.1).

Networks are trained as analog ones, to be converted, or, as section 5.2 compares, as spiking ones from the start, all layers at
once: in tandem, or through time with surrogate derivatives. Data, loss, optimiser and checkpoints are the same for all.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn

from separator.atomic import make_folder
from separator.errors import DivergedError, UserError
from separator.images.labelled import ImageSet
from separator.models.card import Goal, ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import save_model
from separator.snn.conversion.thresholds import check_percentile
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.spiking import Dynamics
from separator.snn.learning.surrogate import Surrogate, SurrogateName
from separator.snn.observe.activity import check_penalty
from separator.snn.stack.stack import Stack
from separator.tasks.devices import resolve_device
from separator.tasks.learning.checkpoints import checkpoints, fit, load_checkpoint, trainer_options
from separator.tasks.problems.image_data import Batch, ImageBatches, ImageSettings, accuracy, output_loss, score
from separator.tasks.images.fit import check_fit
from separator.tasks.penalised import PenalisedTraining

# How a network learns: as an analog one; as a spiking one with the gradient of its analog twins, by spike counts (Wu et al.
# 2019, "A tandem learning rule"); or as a spiking one through time, with surrogates for the derivatives of spikes.
Learning = Literal["analog", "tandem", "surrogate"]


@dataclass(frozen=True)
class ImageOptimiserSettings:
    """How to train; the defaults are the paper's."""

    lr: float = 1e-3  # of Adam, divided by 10 at half time
    max_epochs: int = 100
    activity_penalty: float = 0.0  # weight of the activity in the loss; see ActivityPenalty
    # What batch norm of hidden layers starts with, in standard deviations. At 1, 84 % of activations are above zero at first,
    # and fewer neurons of a narrow layer fall silent for good.
    initial_bias: float = 0.0

    def __post_init__(self) -> None:
        check_penalty(self.activity_penalty)
        if not math.isfinite(self.initial_bias):
            raise UserError(f"a bias is a finite number, not {self.initial_bias}")


@dataclass(frozen=True)
class SpikingSettings:
    """How neurons run in a network that learns as a spiking one; the defaults are those of the paper's Fig. 4."""

    window: int = 8  # time steps N_s
    initial_potential: float = 0.0  # initial potential in thresholds
    percentile: float = 99.0  # of the new network's activations, normalised by batch, their upper bound a_u
    channelwise: bool = False  # a threshold per channel instead of one per layer
    calibration_batches: int = 4  # that the activations are of
    surrogate: SurrogateName = "rectangular"  # derivative of a spike: rectangular, triangular, sigmoid or arctan
    surrogate_width: float = 1.0  # in thresholds

    def __post_init__(self) -> None:
        _ = self.dynamics, self.derivative  # refuse what cannot be
        check_percentile(self.percentile)
        if self.calibration_batches < 1:
            raise UserError("thresholds need at least 1 calibration batch")

    @property
    def dynamics(self) -> Dynamics:
        """How the neurons run."""
        return Dynamics(self.window, self.initial_potential)

    @property
    def derivative(self) -> Surrogate:
        """What stands for the derivative of a spike."""
        return Surrogate(self.surrogate, self.surrogate_width)


@dataclass(frozen=True)
class ImageTrainingSettings:
    """Everything a training run depends on."""

    data: ImageSettings
    model: FeedForwardConfig
    goal: Goal = "classify"
    optimiser: ImageOptimiserSettings = field(default_factory=ImageOptimiserSettings)
    name: str | None = None  # of the model, None for ann or snn
    seed: int = 0
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all
    learning: Learning = "analog"
    spiking: SpikingSettings = field(default_factory=SpikingSettings)  # unless learning is analog


class ImageTraining(PenalisedTraining):
    """Training steps of a `FeedForward`."""

    def __init__(self, network: FeedForward, goal: Goal, optimiser: ImageOptimiserSettings) -> None:
        super().__init__(network.stack, optimiser.activity_penalty)
        self.network, self.goal, self.settings = network, goal, optimiser

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        return self.penalised(self._step(batch, "train"), batch_size=len(batch[0]))

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss on images held out."""
        self.penalised(self._step(batch, "dev"), batch_size=len(batch[0]))

    def _step(self, batch: Batch, part: str) -> Tensor:
        """Loss of a batch; means over an epoch, and of classifiers the accuracy in %, go to the log."""
        outputs = self.network(batch[0])
        loss = output_loss(self.goal, outputs, batch)
        values = {"loss": loss}
        if self.goal == "classify":
            values["accuracy"] = accuracy(outputs, batch[1])
        for name, value in values.items():
            shown = part == "dev" and name == "loss"
            self.log(f"{part}_{name}", value, prog_bar=shown, on_epoch=True, on_step=False, batch_size=len(batch[0]))
        return loss

    def configure_optimizers(self) -> Any:
        """Adam, its learning rate divided by 10 at half time."""
        optimiser = torch.optim.Adam(self.network.parameters(), self.settings.lr)
        half = max(1, self.settings.max_epochs // 2)
        return [optimiser], [torch.optim.lr_scheduler.MultiStepLR(optimiser, [half])]


class ImageData(pl.LightningDataModule):
    """Loaders of a set of images; each epoch has an order of its own."""

    def __init__(self, images: ImageSet, settings: ImageSettings, seed: int, device: str) -> None:
        super().__init__()
        self.seed = seed
        self.train_batches = train_batches(images, settings, seed, device)
        self.dev_batches = ImageBatches(images.dev, settings.dev_batch, device=device)

    def train_dataloader(self) -> ImageBatches:
        """Batches of the trainer's current epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        return self.train_batches.with_seed(epoch_seed(self.seed, epoch))

    def val_dataloader(self) -> ImageBatches:
        """Images held out."""
        return self.dev_batches


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch of a run; no two of the first 10,000 epochs of different runs have the same."""
    return 10_000 * seed + epoch


def train_batches(images: ImageSet, settings: ImageSettings, seed: int, device: str | torch.device) -> ImageBatches:
    """Batches to train on, in an order and varied as the seed has it."""
    return ImageBatches(images.train, settings.batch, seed, settings.flip, settings.shift, device)


def set_initial_bias(stack: Stack, bias: float) -> None:
    """Let batch norm of the analog layers that have a ReLU add a bias; a stack without batch norm takes none but 0.

    Raises:
        UserError: there is nothing to set.
    """
    norms = [
        layer.norm for layer in stack.layers if isinstance(layer, AnalogLayer) and layer.rectified and layer.norm is not None
    ]
    if bias and not norms:
        raise UserError("an initial bias is one of batch norm, which the hidden layers of this network do not have")
    for norm in norms:
        nn.init.constant_(norm.bias, bias)


def train_images(
    settings: ImageTrainingSettings, folder: Path, progress: bool = True, log: Callable[[str], None] = lambda text: None
) -> Path:
    """Train, or go on with a training interrupted in `folder`; returns the model file of the lowest dev loss.

    `folder` receives `ann.safetensors` or, of networks that learn as spiking ones, `snn.safetensors`; `last.ckpt` and
    `best.ckpt` (Lightning checkpoints), and a CSV log. A training that diverges ends early; `log` is called with what it was.

    Raises:
        UserError: the images cannot be used or do not fit the network, or training diverged before the first epoch was over.
    """
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = resolve_device(settings.device)
    images = settings.data.read()
    network = FeedForward(settings.model)
    set_initial_bias(network.stack, settings.optimiser.initial_bias)
    check_fit(network, settings.goal, images)
    make_folder(folder)
    data = ImageData(images, settings.data, settings.seed, device)
    conversion = begin_spiking(network.stack, settings, data.train_batches)
    best, last = checkpoints(folder)
    trainer = pl.Trainer(
        accelerator="gpu" if device.startswith("cuda") else "cpu",
        devices=1,
        max_epochs=settings.optimiser.max_epochs,
        callbacks=[best, last],
        logger=CSVLogger(folder, name="csv"),
        **trainer_options(folder, progress),
    )
    task = ImageTraining(network, settings.goal, settings.optimiser)
    try:
        fit(trainer, task, data, folder)
    except DivergedError as error:
        log(f"training ends here: {error}")
    state = load_checkpoint(Path(best.best_model_path))
    task.load_state_dict(state["state_dict"])
    network.cpu().eval().requires_grad_(False)
    if conversion is not None:
        network.stack.freeze()
    test = score(network, settings.goal, images.test, settings.data.dev_batch)
    scores = {"goal": settings.goal, "epochs": state["epoch"] + 1, "test": test}
    kind = "ann" if conversion is None else "snn"
    card = ModelCard(
        settings.name or kind,
        settings.model.to_dict(),
        conversion,
        architecture="feedforward",
        training_data=images.train.origin,
        scores=scores | {"settings": _plain(asdict(settings))},
    )
    save_model(folder / f"{kind}.safetensors", network, card)
    return folder / f"{kind}.safetensors"


def begin_spiking(stack: Stack, settings: ImageTrainingSettings, batches: ImageBatches) -> dict[str, Any] | None:
    """Make the stack of a new network one that learns as `settings` say; what a card says of it, None of an analog one.

    Raises:
        UserError: a layer is never active on the calibration batches.
    """
    if settings.learning == "analog":
        return None
    how = settings.spiking
    pictures = torch.cat([pictures.cpu() for pictures, _ in islice(batches, how.calibration_batches)])
    try:
        if settings.learning == "tandem":
            stack.put_in_tandem(pictures, how.dynamics, how.percentile, how.channelwise, batch_statistics=True)
        else:
            stack.put_through_time(
                pictures, how.dynamics, how.derivative, how.percentile, how.channelwise, batch_statistics=True
            )
    except ValueError as error:
        raise UserError(f"{error}; try another --seed, or networks with batch norm") from error
    return asdict(how) | asdict(how.dynamics) | {"readout": stack.readout, "learning": settings.learning}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Paths as text."""
    return {k: _plain(v) if isinstance(v, dict) else str(v) if isinstance(v, Path) else v for k, v in values.items()}
