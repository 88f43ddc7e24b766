"""Train an analog network, or tune all layers of a spiking one together.

  separator train --config recipes/open-2mix/conf/small.yaml --data.train DIR --data.dev DIR --out exp/small
  separator train --config conf/paper.yaml --data.train mixtures/tr --data.dev mixtures/cv --out exp/paper --machine.devices 4
  separator train --config conf/ptl-4.tune.yaml --init exp/ptl-4/snn.safetensors --data.train DIR --data.dev DIR --out exp/tuned

Every value of the configuration can be given on the command line. A folder that already holds `last.ckpt` is gone on with.
"""

import sys

import jsonargparse

from separator.cli.configured import ConfiguredParser, add_config_and_out, quieten_lightning, settings_from, to_stderr

PARSER = ConfiguredParser


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Options of `separator train`."""
    from separator.models.tasnet import TasNetConfig
    from separator.tasks.problems.mixture_data import DataSettings
    from separator.tasks.learning.settings import CardSettings, MachineSettings, OptimiserSettings

    add_config_and_out(parser, "folder for checkpoints, logs and the configuration")
    parser.add_argument("--seed", type=int, default=0, help="of weights and mixtures")
    parser.add_argument("--init", help="model to start from; a spiking one is tuned, all layers in tandem")
    parser.add_class_arguments(DataSettings, "data")
    parser.add_class_arguments(TasNetConfig, "model")
    parser.add_class_arguments(OptimiserSettings, "optimiser")
    parser.add_class_arguments(MachineSettings, "machine")
    parser.add_class_arguments(CardSettings, "card")


def run(arguments: jsonargparse.Namespace) -> int:
    """Train, resuming where the folder holds a checkpoint."""
    from separator.tasks.learning.training import train
    from separator.tasks.learning.settings import TrainingSettings

    quieten_lightning()
    settings = settings_from(arguments, TrainingSettings)
    print(train(settings, arguments.out, sys.stderr.isatty(), to_stderr))
    return 0
