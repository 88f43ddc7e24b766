r"""Convert a trained network for images to spikes by progressive tandem learning.

  separator convert-images --config recipes/mnist-autoencoder/conf/ptl.yaml --model exp/autoencoder/ann.safetensors \
      --data.folder DIR --out exp/autoencoder/ptl
  separator convert-images --model exp/mnist/ann.safetensors --data.folder MNIST --conversion.window 16 --out exp/mnist/ptl-16
  separator convert-images ... --conversion.window 4 --preset few-steps    # all that helps at few time steps
  separator convert-images ... --hardware.weight_bits 4 --hardware.fan_in 256 --hardware.neurons 16384    # to fit a chip

Every value of the configuration can be given on the command line. A folder that already holds a conversion is gone on with.
"""

import jsonargparse

from separator.cli.configured import (
    ConfiguredParser,
    add_config_and_out,
    add_conversion,
    add_device_and_threads,
    settings_from,
    to_stderr,
)

PARSER = ConfiguredParser


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Options of `separator convert-images`."""
    from separator.snn.observe.hardware import HardwareProfile
    from separator.tasks.problems.image_data import ImageSettings

    add_config_and_out(parser, "folder for the model, its report and the state to resume from")
    parser.add_argument("--model", required=True, help="file of the analog model to convert")
    parser.add_argument("--name", default="snn", help="of the spiking model")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the images, another one than in training")
    add_device_and_threads(parser, "auto")
    parser.add_class_arguments(ImageSettings, "data")
    add_conversion(parser)
    parser.add_class_arguments(HardwareProfile, "hardware")


def run(arguments: jsonargparse.Namespace) -> int:
    """Convert, resuming where the folder holds a conversion."""
    from separator.tasks.images.conversion import ImageConversionRun, convert_images

    settings = settings_from(arguments, ImageConversionRun)
    print(convert_images(settings, arguments.out, log=to_stderr))
    return 0
