r"""Download MNIST, Fashion-MNIST, CIFAR-10 or CIFAR-100 into a folder that the commands for images read as --data.folder.

  separator fetch-images mnist data/mnist
  separator fetch-images fashion-mnist data/fashion-mnist
  separator fetch-images cifar10 data/cifar10
  separator fetch-images cifar100 data/cifar100
  separator fetch-images mnist data/mnist --mirror https://mirror.example.org/mnist

Checksums tell whether what arrives is right; files that are there already are left as they are. A folder filled by other
means does as well.
"""

import argparse
from pathlib import Path

from separator.cli.options.configured import to_stderr
from separator.images.downloads import SETS, fetch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator fetch-images`."""
    parser.add_argument("set", choices=SETS, metavar="SET", help=", ".join(SETS))
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder for the files")
    parser.add_argument(
        "--mirror", action="append", default=[], metavar="URL", help="folder on the web to get the files from; may be repeated"
    )


def run(arguments: argparse.Namespace) -> int:
    """Download what is missing, then read it all."""
    images = fetch(SETS[arguments.set], arguments.folder, arguments.mirror, to_stderr)
    parts = f"{len(images.train)} to train on, {len(images.dev)} held out, {len(images.test)} to test on"
    print(f"{arguments.folder}: {parts}")
    return 0
