r"""Train a network, or tune all layers of a spiking one together.

  separator train --config recipes/open-2mix/conf/small.yaml --data.train DIR --data.dev DIR --out exp/small
  separator train --config conf/paper.yaml --data.train mixtures/tr --data.dev mixtures/cv --out exp/paper --machine.devices 4
  separator train --config conf/ptl-4.tune.yaml --init exp/ptl-4/snn.safetensors --data.train DIR --data.dev DIR --out exp/tuned
  separator train --config recipes/mnist-autoencoder/conf/ann.yaml --data.folder DIR --out exp/autoencoder
  separator train --problem images --data.folder MNIST --network.layers c16s1-c32s2-c32s1-c64s2-800-10 --out exp/mnist
  separator train --problem images --learning.rule surrogate --learning.surrogate arctan --conversion.window 8 \
      --data.folder MNIST --network.layers c16s2-c32s2-10 --out exp/surrogate
  separator train --problem images --learning.rule stdb --init exp/reduced/snn.safetensors --learning.leak 0.99 \
      --learning.segment 25 --optimiser.lr 0.0001 --optimiser.clip 1 --data.kind cifar10 --data.folder DIR --out exp/stdb

Analog networks are trained to be converted. With --learning.rule tandem, surrogate or stdb, new networks learn as spiking ones,
all layers at once: with the gradients of analog twins, coupled by spike counts, or by backpropagation through time with a
surrogate for the derivative of a spike; their neurons are told by --conversion. By stdb (Rathi et al. 2020), which keeps one
bit for each neuron and step, models learn on that --init names, analog or converted; gradients may be cut into segments
(--learning.segment), with a loss at the end of each. Dropout acts on analog networks and, its masks held over all steps, by
stdb.

Every value of the configuration can be given on the command line. A folder that already holds `last.ckpt` is gone on with. All
values of a training are kept in its `config.yaml`, for --config.
"""

import sys
from dataclasses import fields

import jsonargparse

from separator.allocation import keep_freed_memory
from separator.cli.options.configured import (
    add_config_and_out,
    add_device_and_threads,
    configuration_of,
    quieten_lightning,
    settings_from,
    to_stderr,
)
from separator.cli.options.problems import ProblemParser, add_problem, add_usual
from separator.tasks.problems.registry import Entry

PARSER = ProblemParser


def add_arguments(parser: ProblemParser) -> None:
    """Options of `separator train`, once the problem is known."""
    parser.add_options = add_options


def add_options(parser: ProblemParser, entry: Entry) -> None:
    """Options for a problem."""
    from separator.snn.conversion.settings import ConversionSettings
    from separator.tasks.learning.settings import (
        OF_NEURONS,
        CardSettings,
        LearningSettings,
        MachineSettings,
        OptimiserSettings,
        usual_neurons,
    )

    problem = entry.load()
    add_config_and_out(parser, "folder for the model, checkpoints and logs")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches")
    parser.add_argument(
        "--init",
        help="model to start from, which grows if larger sizes are given, others than the usual ones; a spiking one is tuned, "
        "all layers in tandem",
    )
    add_device_and_threads(parser)
    add_problem(parser, problem)
    add_usual(parser, problem, "optimiser", OptimiserSettings)
    add_usual(parser, problem, "machine", MachineSettings)
    parser.add_class_arguments(LearningSettings, "learning")
    parser.add_class_arguments(
        ConversionSettings, "conversion", skip={field.name for field in fields(ConversionSettings)} - set(OF_NEURONS)
    )
    parser.set_defaults({f"conversion.{name}": getattr(usual_neurons(), name) for name in OF_NEURONS})
    parser.add_class_arguments(CardSettings, "card")


def run(arguments: jsonargparse.Namespace) -> int:
    """Train, resuming where the folder holds a checkpoint."""
    from separator.tasks.learning.settings import TrainingSettings
    from separator.tasks.learning.training import train

    quieten_lightning()
    keep_freed_memory()
    settings = settings_from(arguments, TrainingSettings)
    print(train(settings, arguments.out, sys.stderr.isatty(), to_stderr, configuration_of(arguments)))
    return 0
