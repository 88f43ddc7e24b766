"""CIFAR-10: the original binary batches, or a copy of JPEG images in one npz file.

By hand: torchvision reads neither, but the pickled batches only, and keeps quiet about which file is damaged.
"""

import io
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from separator.errors import UserError
from separator.images.labelled import ImageSet, LabelledImages, divided, read_bytes

CLASSES = 10
SHAPE = (3, 32, 32)
ROW = 1 + 3 * 32 * 32  # bytes of an image with its label
BATCHES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
COPY = "cifar10_jpeg.npz"


def read_cifar10(folder: str | Path) -> ImageSet:
    """Read a folder with the binary batches (itself or in `cifar-10-batches-bin`), or with the JPEG copy.

    Raises:
        UserError: there is neither, or a file is damaged.
    """
    root = Path(folder)
    binary = next((path for path in (root, root / "cifar-10-batches-bin") if (path / BATCHES["test"][0]).is_file()), None)
    if binary is not None:
        train, test = (_from_batches(binary, part) for part in BATCHES)
    elif (root / COPY).is_file():
        train, test = _from_copy(root / COPY)
    else:
        raise UserError(f"{folder} has neither {BATCHES['test'][0]} nor {COPY}; give the folder with CIFAR-10's binary version")
    return divided(train, test, CLASSES)


def _from_batches(folder: Path, part: str) -> LabelledImages:
    rows = []
    for name in BATCHES[part]:
        content = read_bytes(folder / name)
        if len(content) % ROW or not content:
            raise UserError(f"{folder / name} has {len(content)} bytes, not a multiple of {ROW}; get it again")
        rows.append(np.frombuffer(content, np.uint8).reshape(-1, ROW))
    together = np.concatenate(rows)
    return LabelledImages(together[:, 1:].reshape(-1, *SHAPE), together[:, 0].astype(np.int64), f"CIFAR-10 ({part})")


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
