"""Pictures in folders, too many for memory: ImageNet, or any tree that torchvision's `ImageFolder` reads."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from separator.errors import UserError
from separator.images.labelled import SPLIT_SEED, ImageSet, PixelReader, Pixels, divided
from separator.parallel import cores, leave_with_parent_alone

NAMED = 3  # classes that a message names at most


@dataclass(frozen=True)
class Framing:
    """Part of a picture that is seen: the square in its centre, once it is scaled.

    Raises:
        UserError: there is no such square.
    """

    resize: int = 256  # pixels that the shorter side is scaled to
    crop: int = 224  # pixels of a side of the square
    random: bool = False  # where a seed varies pictures, a part of random place, size and shape, scaled to the square

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize:
            raise UserError(f"pictures scaled to {self.resize} pixels cannot be cropped to {self.crop}; crop is 1 to resize")


Wanted = tuple[str, int | None]  # path of a picture; the seed that varies it, or None for its centre


class Decoder(Dataset[Pixels | UserError]):
    """Pixels of pictures, (3, crop, crop), grey and CMYK ones turned into RGB.

    Varied pictures are those of torchvision's `RandomResizedCrop`: 8 to 100 % of the area, sides of 3:4 to 4:3. A picture that
    cannot be decoded gives an error as a value, since one that is raised would lose its type between processes.
    """

    def __init__(self, framing: Framing) -> None:
        # Imported here, as it takes seconds, but before processes are forked, which are spared that.
        from torchvision.datasets.folder import pil_loader
        from torchvision.transforms import v2

        self.load = pil_loader
        self.centre = v2.Compose([v2.Resize(framing.resize), v2.CenterCrop(framing.crop), v2.PILToTensor()])
        self.part = v2.Compose([v2.RandomResizedCrop(framing.crop), v2.PILToTensor()])

    def __getitem__(self, wanted: Wanted) -> Pixels | UserError:
        path, seed = wanted
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of metadata that Pillow finds odd
                picture: Image.Image = self.load(path)
        except UnidentifiedImageError:
            return UserError(f"{path} is no picture; remove it")
        except Exception as error:  # Pillow raises all sorts of them on damaged files
            return UserError(f"cannot read the picture {path} ({error}); get it again, or remove it")
        if seed is None:
            return np.asarray(self.centre(picture))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return np.asarray(self.part(picture))


def _together(pictures: list[Pixels | UserError]) -> Pixels | UserError:
    """A batch, (B, C, H, W), or the first error in it. An array, since tensors would need shared memory, often too little."""
    arrays = []
    for picture in pictures:
        if isinstance(picture, UserError):
            return picture
        arrays.append(picture)
    return np.stack(arrays)


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Images decoded when they are wanted, and their classes."""

    paths: NDArray[np.object_]  # (N,), of text
    labels: NDArray[np.int64]  # (N,)
    origin: str  # where they come from, for messages and reports
    framing: Framing
    workers: int  # processes that decode; 0 for this one

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image, (C, H, W)."""
        return 3, self.framing.crop, self.framing.crop

    def take(self, places: NDArray[np.int64] | slice) -> "FolderImages":
        """Some of them."""
        return replace(self, paths=self.paths[places], labels=self.labels[places])

    def reader(self, device: str | torch.device) -> PixelReader:
        """Gives batches of their pixels, decoded ahead of time.

        Raises, when it comes to a picture that cannot be decoded:
            UserError: which one.
        """
        return partial(self._batches, device)

    def _batches(self, device: str | torch.device, groups: Sequence[Tensor], seed: int | None) -> Iterator[Tensor]:
        # A seed for each picture, so that it does not matter which process decodes it, or when.
        seeds: list[int] | list[None] = [None] * len(self)
        if seed is not None and self.framing.random:
            seeds = torch.randint(2**62, (len(self),), generator=torch.Generator().manual_seed(seed)).tolist()
        wanted = ([(self.paths[place], seeds[place]) for place in group.tolist()] for group in groups)
        loader: DataLoader[Pixels | UserError] = DataLoader(
            Decoder(self.framing),
            batch_sampler=wanted,  # of what is wanted, in place of indices
            num_workers=min(self.workers, len(groups)),
            collate_fn=_together,
            worker_init_fn=leave_with_parent_alone,
            generator=torch.Generator(),  # leaves the global one alone
        )
        for pixels in loader:
            if isinstance(pixels, UserError):
                raise pixels
            yield torch.from_numpy(pixels).to(device)


def read_image_folder(folder: str | Path, framing: Framing | None = None, workers: int | None = None) -> ImageSet:
    """Find the pictures `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG` below a folder, in all formats that torchvision takes.

    `val` is the test set, as is usual for ImageNet-12 (Wu et al. 2021, section 5.1); what to choose by is held out of `train`.
    Pictures come in an order drawn once for all, so that the first ones are of all classes.

    Args:
        folder: with `train` and `val`.
        framing: what is seen of each picture; None for the usual square of 224.
        workers: processes that decode; 0 for this one, None for one a core.

    Raises:
        UserError: a folder or a class is missing or has no pictures.
    """
    framing = framing or Framing()
    workers = cores() if workers is None else workers
    root = Path(folder)
    train, names = _read_part(root, "train", framing, workers)
    test, test_names = _read_part(root, "val", framing, workers)
    for part, lacking in (("val", set(names) - set(test_names)), ("train", set(test_names) - set(names))):
        if lacking:
            raise UserError(f"{root / part} lacks classes that {root} has elsewhere: {_listed(lacking)}")
    return divided(train, test, len(names))


def _read_part(root: Path, part: str, framing: Framing, workers: int) -> tuple[FolderImages, list[str]]:
    """The pictures of `train` or `val`, and the names of the classes."""
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS

    folder = root / part
    if not folder.is_dir():
        raise UserError(f"{root} has no folder {part}; give the folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG")
    try:
        found = ImageFolder(folder, allow_empty=True)
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no folders of classes; its pictures are to lie in {folder}/CLASS") from error
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror or error}") from error
    labels = np.array(found.targets, np.int64)
    empty = [
        name for name, count in zip(found.classes, np.bincount(labels, minlength=len(found.classes)), strict=True) if not count
    ]
    if empty:
        raise UserError(f"{folder} has classes without pictures ({', '.join(IMG_EXTENSIONS)}): {_listed(empty)}")
    paths = np.array([path for path, _ in found.samples], np.object_)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    return FolderImages(paths[order], labels[order], f"{root} ({part})", framing, workers), found.classes


def _listed(names: list[str] | set[str]) -> str:
    some = ", ".join(sorted(names)[:NAMED])
    return f"{some} and {len(names) - NAMED} more" if len(names) > NAMED else some
