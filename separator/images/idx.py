"""MNIST and Fashion-MNIST, which has the same form: idx files, compressed or not.

By hand: torchvision reads uncompressed files in a folder `MNIST/raw` only, and answers damaged ones with bare assertions.
"""

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from separator.errors import UserError
from separator.images.labelled import ImageSet, LabelledImages, Pixels, divided, read_bytes

UNSIGNED_BYTES = 0x08  # the type of numbers that these sets have
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_idx(path: Path) -> Pixels:
    """Read an idx file of unsigned bytes, with gzip or without.

    The format: two zero bytes, a type, the number of dimensions, their sizes as big-endian 32-bit integers, then the numbers.

    Raises:
        UserError: the file is missing, cut short, or none of these.
    """
    content = read_bytes(path)
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise UserError(f"{path} is damaged ({error}); get it again") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, UNSIGNED_BYTES]) or not content[3]:
        raise UserError(f"{path} is no idx file of unsigned bytes")
    start = 4 + 4 * content[3]
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if len(content) != start + prod(sizes):
        wanted = " x ".join(map(str, sizes))
        raise UserError(f"{path} has {max(0, len(content) - start)} numbers where it says {wanted}; get it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def read_mnist(folder: str | Path) -> ImageSet:
    """Read a folder with the four files of MNIST.

    Raises:
        UserError: a file is missing or damaged.
    """
    return _read_set(Path(folder), "MNIST")


def read_fashion_mnist(folder: str | Path) -> ImageSet:
    """Read a folder with the four files of Fashion-MNIST, which are named as MNIST's.

    Raises:
        UserError: a file is missing or damaged.
    """
    return _read_set(Path(folder), "Fashion-MNIST")


def _read_set(folder: Path, name: str) -> ImageSet:
    parts = {}
    for part, files in FILES.items():
        pixels, labels = (read_idx(_found(folder, file, name)) for file in files)
        if pixels.ndim != 3 or labels.ndim != 1:
            raise UserError(
                f"{folder} is not {name}: its {part} files have {pixels.ndim} and {labels.ndim} dimensions, not 3 and 1"
            )
        parts[part] = LabelledImages(pixels[:, None], labels.astype(np.int64), f"{folder} ({part})")
    return divided(parts["train"], parts["test"], classes=10)


def _found(folder: Path, file: str, name: str) -> Path:
    for path in (folder / file, folder / f"{file}.gz"):
        if path.is_file():
            return path
    raise UserError(f"{folder} has no {file} or {file}.gz; give the folder with the four files of {name}")
