"""Downloads of sets of images from where they are published; what does not have the right checksum is not kept.

By hand: torchvision waits without end, turns to http where https fails, and leaves half a file where it is stopped.
"""

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tqdm import tqdm

from separator.atomic import atomic_path, make_folder
from separator.errors import UserError
from separator.images.cifar import BATCHES, HUNDRED, HUNDRED_FOLDER, read_cifar10, read_cifar100
from separator.images.idx import read_fashion_mnist, read_mnist
from separator.images.labelled import ImageSet
from separator.version import __version__
from separator.writer import sole_writer

PATIENCE = 30  # s without a sign of life after which a mirror is given up
BLOCK = 1 << 16  # bytes


@dataclass(frozen=True)
class PublishedSet:
    """A set of images as its publishers offer it."""

    mirrors: tuple[str, ...]  # URLs of folders that hold the files, in the order in which they are tried
    checksums: dict[str, str]  # SHA-256 of each file
    read: Callable[[Path], ImageSet]  # reads the folder that the files are in
    unpacked: tuple[str, ...] = ()  # members to keep of a tar archive, the only file, in place of the archive


SETS = {
    "mnist": PublishedSet(
        mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
        checksums={
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        read=read_mnist,
    ),
    "fashion-mnist": PublishedSet(
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        ),
        checksums={
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        read=read_fashion_mnist,
    ),
    "cifar10": PublishedSet(
        mirrors=("https://www.cs.toronto.edu/~kriz", "https://cave.cs.toronto.edu/kriz"),
        checksums={"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
        read=read_cifar10,
        unpacked=tuple(f"cifar-10-batches-bin/{name}" for names in BATCHES.values() for name in names),
    ),
    "cifar100": PublishedSet(
        mirrors=("https://www.cs.toronto.edu/~kriz", "https://cave.cs.toronto.edu/kriz"),
        checksums={"cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"},
        read=read_cifar100,
        unpacked=tuple(f"{HUNDRED_FOLDER}/{name}" for names in HUNDRED.values() for name in names),
    ),
}


def fetch(images: PublishedSet, folder: Path, mirrors: Sequence[str] = (), log: Callable[[str], None] = print) -> ImageSet:
    """Download a set into a folder, but for files that are there already, and read it.

    Each file is either whole and right, or absent.

    Args:
        images: which.
        folder: made if absent.
        mirrors: URLs of folders to try in place of the set's own.
        log: called with a line of text for each file.

    Raises:
        UserError: no mirror gives a file, the folder cannot be written, another process downloads into it, or what was there
            already cannot be read.
    """
    for mirror in mirrors:
        if urlsplit(mirror).scheme not in ("http", "https") or not urlsplit(mirror).netloc:
            raise UserError(f"a mirror is the URL of a folder, as {images.mirrors[0]}, not '{mirror}'")
    make_folder(folder)
    whole = all((folder / name).is_file() for name in images.unpacked or images.checksums)
    with nullcontext() if whole else sole_writer(folder, {(folder / name).parent for name in images.unpacked}):
        _fetch_missing(images, folder, mirrors, log)
    return images.read(folder)


def _fetch_missing(images: PublishedSet, folder: Path, mirrors: Sequence[str], log: Callable[[str], None]) -> None:
    for name, checksum in images.checksums.items():
        if all((folder / kept).is_file() for kept in images.unpacked or (name,)):
            log(f"{folder} has {name} already")
            continue
        urls = [f"{mirror.rstrip('/')}/{name}" for mirror in mirrors or images.mirrors]
        if images.unpacked:
            _fetch_archive(urls, folder, images.unpacked, checksum)
        else:
            with atomic_path(folder / name) as temporary, temporary.open("wb") as file:
                _download(urls, file, checksum)
        log(f"{folder} has got {name}")


def _fetch_archive(urls: Sequence[str], folder: Path, members: Sequence[str], checksum: str) -> None:
    """Download a tar archive and keep some of its members only."""
    try:
        with tempfile.TemporaryFile(dir=folder) as archive:  # without a name, so that a kill leaves nothing of it
            _download(urls, archive, checksum)
            archive.seek(0)
            with tarfile.open(fileobj=archive) as contents:
                for member in members:
                    source = contents.extractfile(member)
                    assert source is not None  # the checksum says that these are files
                    with source, atomic_path(folder / member) as temporary, temporary.open("wb") as target:
                        shutil.copyfileobj(source, target)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error


class _UselessError(Exception):
    """Why a mirror does not help."""


def _download(urls: Sequence[str], file: IO[bytes], checksum: str) -> None:
    """Write what the first URL that gives the right file gives.

    Raises:
        UserError: none does; the message says why, of each.
    """
    failures = []
    for url in urls:
        digest = hashlib.sha256()
        try:
            file.seek(0)
            file.truncate()
            for block in _blocks(url):
                file.write(block)
                digest.update(block)
            if digest.hexdigest() == checksum:
                return
            failures.append(f"{urlsplit(url).netloc} has another file, of SHA-256 {digest.hexdigest()}")
        except _UselessError as error:
            failures.append(f"{urlsplit(url).netloc} {error}")
    name = urls[0].rpartition("/")[2]
    raise UserError(f"cannot get {name}: {'; '.join(failures)}; without a network here, bring the set from another machine")


def _blocks(url: str) -> Iterator[bytes]:
    """Read a URL block by block, with a progress bar on a terminal.

    Raises:
        _UselessError: it is not there, or breaks off.
    """
    try:
        request = Request(url, headers={"User-Agent": f"separator/{__version__}"})
        with urlopen(request, timeout=PATIENCE) as response:
            size = response.length
            bar = tqdm(desc=url.rpartition("/")[2], total=size, unit="B", unit_scale=True, disable=None, leave=False)
            with bar:
                received = 0
                while block := response.read(BLOCK):
                    yield block
                    received += len(block)
                    bar.update(len(block))
    except HTTPError as error:
        raise _UselessError(f"answers {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)  # of an URLError, another error or a text
        raise _UselessError(f"cannot be read ({getattr(reason, 'strerror', None) or reason})") from error
    if size is not None and received < size:
        raise _UselessError(f"broke off after {received} of {size} bytes")
