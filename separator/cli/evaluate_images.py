r"""Score networks for images on the test images, analog and spiking ones side by side.

  separator evaluate-images --model exp/mnist/ann.safetensors --data.folder MNIST --out results
  separator evaluate-images --model ann=exp/ann/ann.safetensors snn=exp/ptl-16/snn.safetensors \
      snn8=exp/ptl-16/snn.safetensors@8 --data.folder CIFAR --data.kind cifar10 --out results

FILE@STEPS simulates a spiking model for another number of time steps than its own. The folder of --out gets RESULTS.md,
results.csv (a row for each model) and results.json (its layers as well): accuracies, or mean square errors, with their 95 %
intervals; differences from the first model on the same images; and of spiking networks spikes, synaptic operations and energy
beside those of the analog network. Networks that reconstruct get a picture each, NAME.png: images and their reconstructions.
"""

import jsonargparse

from separator.cli.arguments import named
from separator.cli.configured import ConfiguredParser, add_config_and_out, add_device_and_threads, to_stderr
from separator.metrics.energy import MAC_COST

PARSER = ConfiguredParser
FOR_TRAINING = {"batch", "flip", "shift", "random_crop", "train_limit"}


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Options of `separator evaluate-images`."""
    from separator.tasks.problems.image_data import ImageSettings

    add_config_and_out(parser, "folder for the results")
    parser.add_argument("--model", nargs="+", required=True, metavar="NAME=FILE", help="networks to score")
    parser.add_argument("--mac_cost", type=float, default=MAC_COST, help="additions that a multiply-accumulate costs")
    parser.add_argument("--pictures", type=int, default=24, help="images shown with their reconstructions, 0 for no picture")
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of tables")
    add_device_and_threads(parser, "auto")
    parser.add_class_arguments(ImageSettings, "data", skip=FOR_TRAINING)


def run(arguments: jsonargparse.Namespace) -> int:
    """Score, and print the report."""
    from separator.tasks.evaluation.items.evaluation import ImageEvaluation, evaluate_images

    models = [named(text) for text in arguments.model]
    options = (arguments[name] for name in ("data", "mac_cost", "pictures", "device", "threads"))
    report = evaluate_images(ImageEvaluation(models, *options), arguments.out, log=to_stderr)
    print(report.to_json() if arguments.json else report.to_markdown(), end="")
    to_stderr(f"results are in {arguments.out}")
    return 0
