"""Sets of images, and batches of them."""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from separator.errors import UserError
from separator.images.cifar import read_cifar10, read_cifar100
from separator.images.folder import Framing, read_image_folder
from separator.images.idx import read_fashion_mnist, read_mnist
from separator.images.labelled import Images, ImageSet

SetName = Literal["mnist", "fashion-mnist", "cifar10", "cifar100", "folder"]

COUNTED = 1000  # test images that operations are counted on
COUNTED_AT_ONCE = 100  # of them, at most
Batch = tuple[Tensor, Tensor]  # pictures between 0 and 1, (B, C, H, W), float32; classes (B,), int64


@dataclass(frozen=True)
class PictureSettings:
    """Settings for seeing picture files; sets whose pictures are all of one size have none of it."""

    resize: int = 256  # pixels that the shorter side of a picture is scaled to
    crop: int = 224  # pixels of a side of the square in the centre that is seen
    random_crop: bool = False  # in training, a part of random place, size and shape, scaled to the square
    workers: int | None = None  # processes that decode pictures; 0 for none besides this one, null for all cores

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise UserError("workers are at least 0")
        _ = self.framing  # refuses what cannot be

    @property
    def framing(self) -> Framing:
        """Part of a picture that is seen."""
        return Framing(self.resize, self.crop, self.random_crop)


@dataclass(frozen=True)
class ImageSettings:
    """Settings for the images, and for going through them."""

    folder: Path  # of the set's own files; of the kind folder, with train/CLASS/ and val/CLASS/
    kind: SetName = "mnist"  # which set
    batch: int = 128  # images of a step
    dev_batch: int = 500  # images that losses and scores are computed on at a time
    flip: bool = False  # mirror training pictures at random
    shift: int = 0  # training pictures are shifted by up to so many pixels, zeros moving in
    train_limit: int | None = None  # at most so many training images, the first ones
    test_limit: int | None = None  # the same of test images
    watched: int | None = None  # conversions: test images scored after each epoch, the first ones; null for all
    pictures: PictureSettings = field(default_factory=PictureSettings)  # kind folder

    def __post_init__(self) -> None:
        if self.batch < 2:
            raise UserError(f"a batch has at least 2 images, not {self.batch}")
        limits = (self.train_limit, self.test_limit, self.watched)
        if self.dev_batch < 1 or any(limit is not None and limit < 1 for limit in limits):
            raise UserError("dev_batch and limits are at least 1")
        if self.shift < 0:
            raise UserError("shift is at least 0")
        if self.kind != "folder" and self.pictures != PictureSettings():
            raise UserError(f"data.pictures is for pictures of a folder (kind folder), not for {self.kind}")

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
    "fashion-mnist": lambda settings: read_fashion_mnist(settings.folder),
    "cifar10": lambda settings: read_cifar10(settings.folder),
    "cifar100": lambda settings: read_cifar100(settings.folder),
    "folder": lambda settings: read_image_folder(settings.folder, settings.pictures.framing, settings.pictures.workers),
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


class PictureData:
    """Batches of a set of images; each epoch and each layer has an order of its own.

    Args:
        images: the set.
        settings: how it is gone through.
        seed: of order and variation.
        device: where the batches shall be.
        first_epoch: epochs that came before.
    """

    def __init__(
        self, images: ImageSet, settings: ImageSettings, seed: int, device: str | torch.device = "cpu", first_epoch: int = 0
    ) -> None:
        self.images, self.settings, self.seed, self.first_epoch, self.device = images, settings, seed, first_epoch, device

    @cached_property
    def batches(self) -> ImageBatches:
        """The training images, in the order of the seed itself."""
        settings = self.settings
        return ImageBatches(self.images.train, settings.batch, self.seed, settings.flip, settings.shift, self.device)

    @cached_property
    def held_out(self) -> ImageBatches:
        """The dev images."""
        return self._test(self.images.dev, self.settings.dev_batch)

    def train(self, epoch: int) -> ImageBatches:
        """Batches of an epoch of training."""
        return self.batches.with_seed(epoch_seed(self.seed, self.first_epoch + epoch))

    @property
    def epoch_seconds(self) -> float:
        """Pictures make no sound."""
        return 0.0

    def layer(self, layer: int) -> ImageBatches:
        """Batches of a layer of a conversion; within it the order stays, so that the trains of frozen layers can be kept."""
        return self.batches.with_seed(epoch_seed(self.seed, layer))

    def calibration(self, batches: int) -> Iterable[Batch]:
        """So many batches of training, in the order of the seed itself."""
        return islice(self.batches, batches)

    def dev(self) -> dict[str, ImageBatches]:
        """Images held out of the training ones."""
        return {"dev": self.held_out}

    @property
    def origin(self) -> str:
        """Source of the test images."""
        return self.images.test.origin

    def watched(self) -> dict[str, ImageBatches]:
        """Test images."""
        return {"test": self._test(self.images.test.take(slice(self.settings.watched)), self.settings.dev_batch)}

    def counted(self) -> ImageBatches:
        """The first test images, few at a time."""
        return self._test(self.images.test.take(slice(COUNTED)), min(self.settings.dev_batch, COUNTED_AT_ONCE))

    def test(self, count: int | None = None) -> ImageBatches:
        """All test images, or so many of them at once."""
        images = self.images.test.take(slice(count))
        return self._test(images, self.settings.dev_batch if count is None else len(images))

    def on(self, device: str | torch.device) -> "PictureData":
        """The same data on another device."""
        same = torch.device(device) == torch.device(self.device)
        return self if same else PictureData(self.images, self.settings, self.seed, device, self.first_epoch)

    def _test(self, images: Images, batch: int) -> ImageBatches:
        return ImageBatches(images, batch, device=self.device)


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of an epoch of a run; no two of the first 10,000 epochs of different runs have the same."""
    return 10_000 * seed + epoch
