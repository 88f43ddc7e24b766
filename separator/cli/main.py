"""`separator COMMAND`: prepare corpora, train, convert, evaluate."""

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from types import ModuleType

from separator.cli import INTERRUPTED, TERMINATED, interrupt, is_starting, leave_at_once
from separator.cli.streams import abandon, ensure_standard_streams, flush_stdout, put, tell
from separator.errors import UserError, mendable
from separator.version import __version__

# Each is a module of `separator.cli.commands`, with a `PARSER` class where argparse's is not enough; only the one asked for is
# imported, so that `--help` does not pay for the training stack.
COMMANDS = {
    "prepare": "read a corpus into Kaldi data folders",
    "mix": "make mixtures from lists, by the WSJ0-2mix protocol",
    "train": "train a network, analog or spiking",
    "convert": "convert a trained ANN to spikes by progressive tandem learning",
    "sweep": "train and convert over several seeds, with one setting varied",
    "evaluate": "score models side by side, on mixtures or test images",
    "course": "follow spiking networks over their time steps",
    "examples": "write audio examples and pictures",
    "publish": "put a model where it is shipped from, with its scores",
    "fetch-images": "download MNIST, Fashion-MNIST, CIFAR-10 or CIFAR-100",
    "plot-curves": "draw learning curves of several trainings side by side",
    "plot-derivatives": "draw what stands for the derivative of a spike",
    "bench": "measure speed and memory of models, side by side",
}

EPILOG = """

`separator COMMAND --help` tells more; `separate mix.wav` separates a file. The exit status is 0 if all went well, 1 if
something could not be used or made, 2 for a wrong command line, 3 where a training diverged and left no network."""

# Commands that there were, and what to call now.
FORMER = {f"{name}-images": f"separator {name} --problem images" for name in ("train", "convert", "sweep", "evaluate")}


def report_errors(program: str, main: Callable[[], int]) -> int:
    """Run `main`; turn what the user can mend, or Ctrl-C, into one line on stderr and an exit status."""
    ensure_standard_streams()
    was_starting = is_starting()
    try:
        if was_starting:  # from here on there may be something to clean up
            signal.signal(signal.SIGINT, interrupt)
        status = main()
        with suppress(UserError) if status else nullcontext():  # told of by then
            flush_stdout()
        return status
    except BrokenPipeError:
        abandon(sys.stdout)
        return 141
    except (KeyboardInterrupt, Exception) as error:
        if comes_of_ctrl_c(error):
            abandon(sys.stdout)  # which would wait for its reader at the end of Python
            tell(f"{program}: interrupted")
            return INTERRUPTED
        failure = mendable(error)
        if failure is None:
            raise
        tell(f"{program}: error: {failure}")
        return failure.status
    except SystemExit as end:
        if end.code == TERMINATED:
            abandon(sys.stdout)
        raise
    finally:
        if was_starting:
            signal.signal(signal.SIGINT, leave_at_once)


@contextmanager
def writes_help(program: str) -> Iterator[None]:
    """Arguments are read in here: help that cannot be written is an error, to which argparse is blind."""
    told = StringIO()

    def write() -> int:
        put(told.getvalue().removesuffix("\n"), sys.stdout)
        return 0

    try:
        with redirect_stdout(told):
            yield
    except SystemExit as end:
        if end.code:
            raise
        raise SystemExit(report_errors(program, write)) from None


def comes_of_ctrl_c(error: BaseException | None) -> bool:
    """Tell whether an error was raised on Ctrl-C: an interrupted import of a compiled module fails with an `ImportError`."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def command_parser(name: str) -> tuple[ModuleType, argparse.ArgumentParser]:
    """Import the module of a command and make the parser of its arguments."""
    module = import_module(f"separator.cli.commands.{name.replace('-', '_')}")
    parser_class = getattr(module, "PARSER", argparse.ArgumentParser)
    parser: argparse.ArgumentParser = parser_class(
        prog=f"separator {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    return module, parser


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `separator`; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="separator",
        description="Train, convert and score talker separation with spiking neural networks.",
        epilog="commands:\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()) + EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"separator {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    if arguments and arguments[0] in FORMER:
        parser.exit(2, f"separator: error: {arguments[0]} is `{FORMER[arguments[0]]}` now (CHANGELOG.md has all new names)\n")
    with writes_help("separator"):
        chosen = parser.parse_args(arguments[:1]).command
    module, command = command_parser(chosen)
    with writes_help(command.prog):
        parsed = command.parse_args(arguments[1:])
    return report_errors(command.prog, lambda: module.run(parsed))


if __name__ == "__main__":
    sys.exit(main())
