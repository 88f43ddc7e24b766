"""CIFAR-10 and CIFAR-100: the original binary batches, or of the former a copy of JPEG images in one npz file.

By hand: torchvision reads neither, but the pickled batches only, and keeps quiet about which file is damaged.
"""

import io
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from separator.errors import UserError
from separator.images.labelled import ImageSet, LabelledImages, divided, read_bytes

CLASSES = 10
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32  # bytes of an image
BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
COPY = "cifar10_jpeg.npz"
HUNDRED, HUNDRED_FOLDER = {"train": ["train.bin"], "test": ["test.bin"]}, "cifar-100-binary"


def read_cifar10(folder: str | Path) -> ImageSet:
    """Read a folder with the binary batches (itself or in `cifar-10-batches-bin`), or with the JPEG copy.

    Raises:
        UserError: there is neither, or a file is damaged.
    """
    root = Path(folder)
    binary = _folder_with(BATCHES["test"][0], root, root / "cifar-10-batches-bin")
    if binary is not None:
        train, test = (_from_batches(binary, names, 1, f"CIFAR-10 ({part})") for part, names in BATCHES.items())
    elif (root / COPY).is_file():
        train, test = _from_copy(root / COPY)
    else:
        raise UserError(f"{folder} has neither {BATCHES['test'][0]} nor {COPY}; give the folder with CIFAR-10's binary version")
    return divided(train, test, CLASSES)


def read_cifar100(folder: str | Path) -> ImageSet:
    """Read a folder with the binary version of CIFAR-100, itself or in `cifar-100-binary`, by its 100 fine classes.

    Raises:
        UserError: it is not there, or a file is damaged.
    """
    root = Path(folder)
    binary = _folder_with(HUNDRED["test"][0], root, root / HUNDRED_FOLDER)
    if binary is None:
        raise UserError(f"{folder} has no {HUNDRED['test'][0]}; give the folder with CIFAR-100's binary version")
    train, test = (_from_batches(binary, names, 2, f"CIFAR-100 ({part})") for part, names in HUNDRED.items())
    return divided(train, test, 100)


def _folder_with(name: str, *folders: Path) -> Path | None:
    """The first of some folders that has a file of a name."""
    return next((path for path in folders if (path / name).is_file()), None)


def _from_batches(folder: Path, names: Sequence[str], labels: int, origin: str) -> LabelledImages:
    """Rows of so many labels, the last of which is the class, and an image."""
    row, rows = labels + PIXELS, []
    for name in names:
        content = read_bytes(folder / name)
        if len(content) % row or not content:
            raise UserError(f"{folder / name} has {len(content)} bytes, not a multiple of {row}; get it again")
        rows.append(np.frombuffer(content, np.uint8).reshape(-1, row))
    together = np.concatenate(rows)
    return LabelledImages(together[:, labels:].reshape(-1, *SHAPE), together[:, labels - 1].astype(np.int64), origin)


def _from_copy(path: Path) -> list[LabelledImages]:
    """Read `{train,test}_{jpeg,offsets,labels}`: image i is the bytes from offsets[i] to offsets[i + 1]."""
    parts = []
    try:
        with np.load(path) as arrays:
            for part in BATCHES:
                stream, offsets = arrays[f"{part}_jpeg"].tobytes(), arrays[f"{part}_offsets"]
                images = [_decoded(stream[a:b]) for a, b in pairwise(offsets)]
                labels = arrays[f"{part}_labels"].astype(np.int64)
                parts.append(LabelledImages(np.array(images, np.uint8), labels, f"CIFAR-10 (JPEG copy, {part})"))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}); get it again") from error
    return parts


def _decoded(image: bytes) -> np.ndarray:
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB")).transpose(2, 0, 1)
    if pixels.shape != SHAPE:
        raise ValueError(f"an image is {pixels.shape}, not {SHAPE}")
    return pixels
