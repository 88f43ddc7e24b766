r"""Follow spiking networks over the time steps of a run: accuracy, events and likeness to the analog network at each.

  separator course --init exp/ann/ann.safetensors --model ter=exp/ter/snn.safetensors aug=exp/aug/snn.safetensors \
      --data.folder MNIST --data.kind mnist --out course

The folder gets NAME.csv (a row for each time step), course.csv and course.md (the best accuracy, when that of the ANN is
reached, first and for good, and at how many events; how much earlier the last network is there than the others), and
course.png. The same command goes on where it was stopped.
"""

import jsonargparse

from separator.cli.options.arguments import named
from separator.cli.options.configured import add_config_and_out, add_device_and_threads, to_stderr
from separator.cli.options.problems import ProblemParser, add_problem
from separator.tasks.problems.registry import Entry


class PARSER(ProblemParser):
    """Of problems, images is the one whose networks have courses."""

    usual = "images"
    problems = ("images",)


def add_arguments(parser: ProblemParser) -> None:
    """Options of `separator course`, once the problem is known."""
    parser.add_options = add_options


def add_options(parser: ProblemParser, entry: Entry) -> None:
    """Options for a problem."""
    from separator.tasks.courses.report import TOLERANCES

    if entry.scored_on == "mixtures":
        parser.error(f"courses are followed of networks that classify images, not of {entry.load().name}")
    add_config_and_out(parser, "folder for the courses")
    parser.add_argument("--init", required=True, metavar="MODEL", help="the analog network that the others were converted from")
    parser.add_argument("--model", nargs="+", action="extend", default=[], metavar="NAME=MODEL", help="spiking networks")
    parser.add_argument("--batch", type=int, default=50, help="images simulated at a time")
    parser.add_argument(
        "--tolerances",
        nargs="+",
        type=float,
        default=list(TOLERANCES),
        metavar="LOSS",
        help="accepted losses of accuracy in %%, for which the time steps and events that are needed are told",
    )
    add_device_and_threads(parser)
    problem = entry.load()
    add_problem(parser, problem, skip=problem.for_training)


def run(arguments: jsonargparse.Namespace) -> int:
    """Follow them, and print the table."""
    from separator.tasks.courses.course import CourseSettings, follow
    from separator.tasks.courses.report import table

    options = [arguments[name] for name in ("batch", "device", "threads", "tolerances")]
    settings = CourseSettings(arguments.problem, arguments.init, [named(text) for text in arguments.model], *options)
    print(table(follow(settings, arguments.out, log=to_stderr), settings.tolerances), end="")
    to_stderr(f"courses are in {arguments.out}")
    return 0
