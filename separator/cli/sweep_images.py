r"""Train and convert networks for images over several seeds, one setting of the conversion varied: a table and a picture.

  separator sweep-images --config recipes/mnist/conf/ann.yaml --config recipes/mnist/conf/ptl.yaml --data.folder MNIST \
      --values '[16, 8, 4]' --out exp/mnist
  separator sweep-images --config recipes/mnist/conf/ann.yaml --config recipes/mnist/conf/ptl.yaml --data.folder MNIST \
      --vary patience --values '[1, 2, 4, 8]' --out exp/mnist

Variants in the configuration are converted each with each value, such as

  variants:
    published: {}
    exact: {initial_potential: 0.5, schedule: layer-by-layer}

The same command goes on where it was stopped.
"""

from typing import Any

import jsonargparse

from separator.cli.configured import (
    ConfiguredParser,
    add_config_and_out,
    add_conversion,
    add_device_and_threads,
    quieten_lightning,
    settings_from,
    to_stderr,
)

PARSER = ConfiguredParser


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Options of `separator sweep-images`."""
    from separator.models.card import Goal
    from separator.models.feedforward import FeedForwardConfig
    from separator.tasks.problems.image_data import ImageSettings
    from separator.tasks.images.training import ImageOptimiserSettings

    add_config_and_out(parser, "folder for models, table and picture")
    parser.add_argument("--vary", default="window", help="setting of the conversion: window, patience, weight_bits or start")
    parser.add_argument("--values", type=list[float], default=[32, 16, 8, 4, 2, 1], help="that it takes")
    parser.add_argument(
        "--variants", type=dict[str, dict[str, Any]], default={"snn": {}}, help="settings of conversion by name"
    )
    parser.add_argument("--seeds", type=int, default=5, help="networks trained, each converted with each value")
    parser.add_argument("--jobs", type=int, default=1, help="trainings and conversions at a time")
    parser.add_argument("--goal", type=Goal, default="classify", help="classify, or reconstruct")
    add_device_and_threads(parser, "auto")
    parser.add_class_arguments(ImageSettings, "data")
    parser.add_class_arguments(FeedForwardConfig, "model")
    parser.add_class_arguments(ImageOptimiserSettings, "optimiser")
    add_conversion(parser)


def run(arguments: jsonargparse.Namespace) -> int:
    """Sweep, resuming where the folder holds results."""
    from separator.tasks.learning.sweeps.sweep import ImageSweepSettings, sweep_images

    quieten_lightning()
    settings = settings_from(arguments, ImageSweepSettings)
    table = sweep_images(settings, arguments.out, log=to_stderr)
    print(table.read_text(encoding="utf-8"), end="")
    return 0
