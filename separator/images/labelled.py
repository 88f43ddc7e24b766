"""Images with labels, in memory or not, and how a training set is divided."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from separator.errors import UserError

if TYPE_CHECKING:  # readers and downloads do without
    import torch
    from torch import Tensor

Pixels = NDArray[np.uint8]
DEV_SHARE = 0.1  # of the training images, held out to choose by (Wu et al. 2021, section 5.1)
DEV_MOST = 10_000  # that are held out: enough to tell epochs apart, and training misses each of them
SPLIT_SEED = 0  # the division is the same for all experiments

# Of groups of places (B,), one after another, and a seed to vary pictures by or None, the pixels of each group in turn,
# (B, C, H, W), uint8, on the device that the reader was made for; the same seed gives the same pixels.
PixelReader = Callable[[Sequence["Tensor"], int | None], Iterator["Tensor"]]


class Images(Protocol):
    """Images and their classes, wherever the pixels are."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Classes. Shape: (N,)."""

    @property
    def origin(self) -> str:
        """Source of the images, for messages and reports."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image, (C, H, W)."""

    def __len__(self) -> int: ...

    def take(self, places: NDArray[np.int64] | slice) -> Self:
        """Some of them."""

    def reader(self, device: "str | torch.device") -> PixelReader:
        """Gives batches of their pixels."""


AnyImages = TypeVar("AnyImages", bound=Images)


@dataclass(frozen=True)
class LabelledImages:
    """Images in memory, and their classes.

    Raises:
        UserError: there are none, or not as many labels as images.
    """

    pixels: Pixels  # (N, C, H, W)
    labels: NDArray[np.int64]  # (N,)
    origin: str  # where they come from, for messages and reports

    def __post_init__(self) -> None:
        if len(self.pixels) == 0:
            raise UserError(f"{self.origin} has no images")
        if len(self.pixels) != len(self.labels):
            raise UserError(f"{self.origin} has {len(self.pixels)} images but {len(self.labels)} labels; get it again")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: NDArray[np.int64] | slice) -> "LabelledImages":
        """Some of them."""
        return LabelledImages(self.pixels[places], self.labels[places], self.origin)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image, (C, H, W)."""
        return self.pixels.shape[1:]

    def reader(self, device: "str | torch.device") -> PixelReader:
        """Gives batches of their pixels, which are copied to the device once."""
        import torch

        pixels = torch.from_numpy(self.pixels.copy()).to(device)
        return lambda groups, seed: (pixels[places] for places in groups)


@dataclass(frozen=True)
class ImageSet:
    """Images that a network is trained on, chosen by and scored on."""

    train: Images
    dev: Images
    test: Images
    classes: int


def divided(train: AnyImages, test: AnyImages, classes: int) -> ImageSet:
    """Hold out a tenth of the training images, but at most 10,000, drawn once for all.

    Raises:
        UserError: a label is not below `classes`, or there are too few images.
    """
    for part in (train, test):
        if part.labels.min() < 0 or part.labels.max() >= classes:
            raise UserError(f"{part.origin} has labels from {part.labels.min()} to {part.labels.max()}, not 0 to {classes - 1}")
    held_out = min(round(DEV_SHARE * len(train)), DEV_MOST)
    if held_out < 1:
        raise UserError(f"{train.origin} has {len(train)} images, too few to hold some out")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
    return ImageSet(train.take(np.sort(order[held_out:])), train.take(np.sort(order[:held_out])), test, classes)


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
