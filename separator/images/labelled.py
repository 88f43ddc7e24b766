"""Images with labels, and how a training set is divided."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from separator.errors import UserError

Pixels = NDArray[np.uint8]
DEV_SHARE = 0.1  # of the training images, held out to choose by (Wu et al. 2021, section 5.1)
SPLIT_SEED = 0  # the division is the same for all experiments


@dataclass(frozen=True)
class LabelledImages:
    """Images and their classes.

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


@dataclass(frozen=True)
class ImageSet:
    """What a network is trained on, chosen by and scored on."""

    train: LabelledImages
    dev: LabelledImages
    test: LabelledImages
    classes: int


def divided(train: LabelledImages, test: LabelledImages, classes: int) -> ImageSet:
    """Hold out a tenth of the training images, drawn once for all.

    Raises:
        UserError: a label is not below `classes`, or there are too few images.
    """
    for part in (train, test):
        if part.labels.min() < 0 or part.labels.max() >= classes:
            raise UserError(f"{part.origin} has labels from {part.labels.min()} to {part.labels.max()}, not 0 to {classes - 1}")
    held_out = round(DEV_SHARE * len(train))
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
