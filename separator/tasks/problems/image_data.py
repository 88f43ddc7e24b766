"""What training, conversion and scoring of networks for images share: batches of a set of images, and what is minimised."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.errors import UserError
from separator.images.cifar import read_cifar10
from separator.images.folder import Framing, read_image_folder
from separator.images.idx import read_mnist
from separator.images.labelled import Images, ImageSet
from separator.models.card import Goal

SetName = Literal["mnist", "cifar10", "folder"]

SCORES: dict[Goal, str] = {"classify": "accuracy (%)", "reconstruct": "mean square error"}

Batch = tuple[Tensor, Tensor]  # pictures between 0 and 1, (B, C, H, W), float32; classes (B,), int64


@dataclass(frozen=True)
class ImageSettings:
    """Which images."""

    folder: Path  # as `separator.images` reads it
    kind: SetName = "mnist"
    batch: int = 128
    dev_batch: int = 500  # images that losses and scores are computed on at a time
    flip: bool = False  # mirror training pictures at random
    shift: int = 0  # training pictures are shifted by up to so many pixels, zeros moving in
    train_limit: int | None = None  # at most so many training images, the first ones
    test_limit: int | None = None
    watched: int | None = None  # conversions: test images scored after each epoch, the first ones; null for all
    resize: int = 256  # kind folder: pixels that the shorter side of a picture is scaled to
    crop: int = 224  # kind folder: pixels of a side of the square in the centre that is seen
    random_crop: bool = False  # kind folder: in training, a part of random place, size and shape, scaled to the square
    workers: int | None = None  # kind folder: processes that decode pictures; 0 for none besides this one, null for all cores

    def __post_init__(self) -> None:
        if self.batch < 2:
            raise UserError(f"a batch has at least 2 images, not {self.batch}")
        limits = (self.train_limit, self.test_limit, self.watched)
        if self.dev_batch < 1 or any(limit is not None and limit < 1 for limit in limits):
            raise UserError("dev_batch and limits are at least 1")
        if self.shift < 0 or (self.workers is not None and self.workers < 0):
            raise UserError("shift and workers are at least 0")
        if self.random_crop and self.kind != "folder":
            raise UserError("random_crop is for pictures of a folder; give a shift")
        _ = self.framing  # refuses what cannot be

    @property
    def framing(self) -> Framing:
        """What is seen of a folder's pictures."""
        return Framing(self.resize, self.crop, self.random_crop)

    def read(self) -> ImageSet:
        """The images.

        Raises:
            UserError: they cannot be read.
        """
        images = _read(self)
        train, test = images.train.take(slice(self.train_limit)), images.test.take(slice(self.test_limit))
        return ImageSet(train, images.dev, test, images.classes)


READERS: dict[SetName, Callable[[ImageSettings], ImageSet]] = {
    "mnist": lambda settings: read_mnist(settings.folder),
    "cifar10": lambda settings: read_cifar10(settings.folder),
    "folder": lambda settings: read_image_folder(settings.folder, settings.framing, settings.workers),
}


@lru_cache(maxsize=1)
def _read(settings: ImageSettings) -> ImageSet:
    """Sweeps train and convert on the same set many times over, and to decode it takes a while."""
    return READERS[settings.kind](settings)


class ImageBatches:
    """Batches of images, re-iterable, of the same content each time.

    Args:
        images: of which.
        batch: in each.
        seed: of the order and of what pictures are put through; None for the order as it is, every picture as it is.
        flip, shift: see `ImageSettings`.
        device: where the batches shall be.
    """

    def __init__(
        self,
        images: Images,
        batch: int,
        seed: int | None = None,
        flip: bool = False,
        shift: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.pixels, self.labels = images.reader(device), torch.from_numpy(images.labels.copy()).to(device)
        self.batch, self.seed, self.flip, self.shift = batch, seed, flip, shift

    def with_seed(self, seed: int) -> "ImageBatches":
        """The same images, in memory but once, in another order and varied otherwise."""
        batches = copy(self)
        batches.seed = seed
        return batches

    def __len__(self) -> int:
        whole, rest = divmod(len(self.labels), self.batch)
        # Batch norm cannot learn from the one picture that may be left over.
        return whole if self.seed is not None and whole and rest < 2 else whole + bool(rest)

    def __iter__(self) -> Iterator[Batch]:
        if self.seed is None:
            order, draw = torch.arange(len(self.labels)), torch.Generator()
        else:
            draw = torch.Generator().manual_seed(self.seed)
            order = torch.randperm(len(self.labels), generator=draw)
        groups = torch.split(order.to(self.labels.device), self.batch)[: len(self)]
        for places, pixels in zip(groups, self.pixels(groups, self.seed), strict=True):
            yield self._varied(pixels.float() / 255, draw), self.labels[places]

    def _varied(self, pictures: Tensor, draw: torch.Generator) -> Tensor:
        if self.seed is None:
            return pictures
        if self.flip:
            mirrored = torch.rand(len(pictures), generator=draw).to(pictures.device) < 0.5
            pictures = torch.where(mirrored.view(-1, 1, 1, 1), pictures.flip(-1), pictures)
        if self.shift:
            height, width = pictures.shape[-2:]
            padded = F.pad(pictures, (self.shift,) * 4)
            corners = torch.randint(2 * self.shift + 1, (2, len(pictures)), generator=draw).to(pictures.device)
            rows = corners[0][:, None] + torch.arange(height, device=pictures.device)
            columns = corners[1][:, None] + torch.arange(width, device=pictures.device)
            each = torch.arange(len(pictures), device=pictures.device).view(-1, 1, 1)
            pictures = padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return pictures


def image_loss(goal: Goal) -> Callable[[nn.Module, Batch], Tensor]:
    """What is minimised: of a network on a batch, a scalar."""
    return lambda network, batch: output_loss(goal, network(batch[0]), batch)


def output_loss(goal: Goal, outputs: Tensor, batch: Batch) -> Tensor:
    """What is minimised, from the network's outputs on a batch, a scalar. Shape: outputs (B, units)."""
    pictures, labels = batch
    return F.cross_entropy(outputs, labels) if goal == "classify" else F.mse_loss(outputs, pictures.flatten(1))


def image_measure(goal: Goal) -> Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]:
    """What is minimised and what results are given in, accuracy in % or mean square error: of a network on a batch, scalars."""

    def measure(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs = network(batch[0])
        loss = output_loss(goal, outputs, batch)
        return loss, accuracy(outputs, batch[1]) if goal == "classify" else loss

    return measure


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Share of the largest outputs that are at the labels, in %, a scalar. Shapes: (B, classes), (B,)."""
    hits = outputs.argmax(1) == labels
    return 100 * hits.float().mean()


@torch.no_grad()
def score(network: nn.Module, goal: Goal, images: Images, batch: int = 500) -> float:
    """Accuracy in %, or mean square error, over all images; the network is in evaluation mode afterwards."""
    network.eval()
    device = next(iter(network.state_dict().values())).device
    total = 0.0
    for pictures, labels in ImageBatches(images, batch, device=device):
        outputs = network(pictures)
        if goal == "classify":
            total += 100 * float((outputs.argmax(1) == labels).sum())
        else:
            total += float((outputs.double() - pictures.flatten(1)).square().mean(1).sum())
    return total / len(images)
