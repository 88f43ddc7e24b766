r"""Train and convert networks for images over several seeds, one setting of the conversion varied: a table and a picture.

  separator sweep-images --config recipes/mnist-autoencoder/conf/windows.yaml --data.folder MNIST --out exp/windows
  separator sweep-images --config recipes/mnist-autoencoder/conf/windows.yaml --vary patience --values '[1, 2, 4, 8]' \
      --conversion.window 16 --data.folder MNIST --out exp/patience

The same command goes on where it was stopped.
"""

import logging
import sys
import warnings
from pathlib import Path

import jsonargparse

from separator.cli.configured import ConfiguredParser, settings_from

PARSER = ConfiguredParser


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Options of `separator sweep-images`."""
    from separator.models.feedforward import FeedForwardConfig
    from separator.snn.progressive import ConversionSettings
    from separator.tasks.image_training import ImageOptimiserSettings
    from separator.tasks.images import Goal, ImageSettings

    parser.add_argument("--config", action="config", help="YAML file with any of the values below")
    parser.add_argument("--out", type=Path, required=True, help="folder for models, table and picture")
    parser.add_argument("--vary", default="window", help="setting of the conversion: window, patience, weight_bits or start")
    parser.add_argument("--values", type=list[float], default=[32, 16, 8, 4, 2, 1], help="that it takes")
    parser.add_argument("--seeds", type=int, default=5, help="networks trained, each converted with each value")
    parser.add_argument("--goal", type=Goal, default="classify", help="classify, or reconstruct")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ..., auto for a GPU if there is one")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for all")
    parser.add_class_arguments(ImageSettings, "data")
    parser.add_class_arguments(FeedForwardConfig, "model")
    parser.add_class_arguments(ImageOptimiserSettings, "optimiser")
    parser.add_class_arguments(ConversionSettings, "conversion")


def run(arguments: jsonargparse.Namespace) -> int:
    """Sweep, resuming where the folder holds results."""
    from separator.tasks.image_sweep import ImageSweepSettings, sweep_images

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    settings = settings_from(arguments, ImageSweepSettings)
    table = sweep_images(settings, arguments.out, log=lambda line: print(line, file=sys.stderr, flush=True))
    print(table.read_text(encoding="utf-8"), end="")
    return 0
