r"""Draw learning curves of several trainings side by side, and write a table of their best and last values.

  separator plot-curves VGG-11=exp/vgg11 VGG-16=exp/vgg16 --out curves.png
  separator plot-curves analog/VGG-11=exp/analog-11 analog/VGG-16=exp/analog-16 tandem/VGG-11=exp/tandem-11 --out depth.png

FOLDER is the --out of a training, finished or not; its CSV log is read. There is a panel for each PANEL and a line for each
LINE, which has the same colour in all panels. Drawn is the accuracy on the images held out, or the loss where a run has no
accuracy. The table lies beside the picture, with the ending .md, and is printed.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator plot-curves`."""
    parser.add_argument("runs", nargs="+", metavar="[PANEL/]LINE=FOLDER", help="trainings and their names")
    parser.add_argument("--out", type=Path, required=True, help="picture to write, such as curves.png")


def run(arguments: argparse.Namespace) -> int:
    """Draw, and print the table."""
    from separator.tasks.presentation.curves import Run, plot_curves

    table = plot_curves([Run.parse(text) for text in arguments.runs], arguments.out)
    print(table.read_text(encoding="utf-8"), end="")
    return 0
