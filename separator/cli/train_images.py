r"""Train a network for images: to tell classes apart, or to give back what it sees.

  separator train-images --config recipes/mnist-autoencoder/conf/ann.yaml --data.folder DIR --out exp/autoencoder
  separator train-images --data.folder MNIST --model.layers c16s1-c32s2-c32s1-c64s2-800-10 --out exp/mnist
  separator train-images --data.folder CIFAR --data.kind cifar10 --data.flip true --data.shift 4 --model.channels 3 \
      --model.height 32 --model.width 32 --model.layers cifar10-vgg11 --out exp/vgg11
  separator train-images --learning tandem --spiking.window 8 --data.folder MNIST --model.layers c16s2-c32s2-10 --out exp/tandem
  separator train-images --learning surrogate --spiking.surrogate arctan --data.folder MNIST --model.layers c16s2-c32s2-10 \
      --out exp/surrogate

Analog networks are trained to be converted. `--learning tandem` and `--learning surrogate` train spiking networks, all layers
at once: with the gradients of analog twins, coupled by spike counts, or by backpropagation through time with a surrogate for
the derivative of a spike. Dropout acts on analog networks only.

Every value of the configuration can be given on the command line. A folder that already holds `last.ckpt` is gone on with.
"""

import sys

import jsonargparse

from separator.cli.configured import (
    ConfiguredParser,
    add_config_and_out,
    add_device_and_threads,
    quieten_lightning,
    settings_from,
    to_stderr,
)

PARSER = ConfiguredParser


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Options of `separator train-images`."""
    from separator.models.card import Goal
    from separator.models.feedforward import FeedForwardConfig
    from separator.tasks.problems.image_data import ImageSettings
    from separator.tasks.images.training import ImageOptimiserSettings, Learning, SpikingSettings

    add_config_and_out(parser, "folder for the model, checkpoints and logs")
    parser.add_argument("--goal", type=Goal, default="classify", help="classify, or reconstruct")
    parser.add_argument("--learning", type=Learning, default="analog", help="analog, tandem, or surrogate")
    parser.add_argument("--name", default=None, help="of the model, by default ann or snn")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order")
    add_device_and_threads(parser, "auto")
    parser.add_class_arguments(ImageSettings, "data")
    parser.add_class_arguments(FeedForwardConfig, "model")
    parser.add_class_arguments(ImageOptimiserSettings, "optimiser")
    parser.add_class_arguments(SpikingSettings, "spiking")


def run(arguments: jsonargparse.Namespace) -> int:
    """Train, resuming where the folder holds a checkpoint."""
    from separator.tasks.images.training import ImageTrainingSettings, train_images

    quieten_lightning()
    settings = settings_from(arguments, ImageTrainingSettings)
    print(train_images(settings, arguments.out, sys.stderr.isatty(), to_stderr))
    return 0
