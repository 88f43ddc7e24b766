"""Commands whose every value may come from a YAML file or the command line.

jsonargparse does that. What is written here beside it: groups of options come back as the objects that check them, and mistakes
are one line, where jsonargparse prints all options first.
"""

import argparse
import logging
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jsonargparse
import yaml
from jsonargparse.typing import NonNegativeInt

from separator.errors import UserError
from separator.snn.conversion.presets import PRESETS, preset

CONFIGURATION = "configuration"  # of parsed arguments: what gives them as a file

Settings = TypeVar("Settings")


def settings_from(arguments: jsonargparse.Namespace, settings: type[Settings]) -> Settings:
    """Build a dataclass from the parsed arguments of the same names."""
    return settings(**{field.name: arguments[field.name] for field in fields(settings)})  # type: ignore[arg-type]


def configuration_of(arguments: jsonargparse.Namespace) -> str:
    """All values that a `ConfiguredParser` parsed but --out, as a YAML file that --config takes."""
    text: str = arguments[CONFIGURATION]()
    return text


def add_config_and_out(parser: jsonargparse.ArgumentParser, out: str) -> None:
    """The options that all such commands have; `out` says what the folder is for."""
    parser.add_argument("--config", action="config", help="YAML file with any of the values below")
    parser.add_argument("--out", type=Path, required=True, help=out)


def add_device_and_threads(parser: jsonargparse.ArgumentParser) -> None:
    """Add the options of the device and the threads to compute on."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, ..., auto for a GPU if there is one")
    parser.add_argument("--threads", type=NonNegativeInt, default=0, help="CPU threads, 0 for all")


def add_conversion(parser: jsonargparse.ArgumentParser) -> None:
    """Add the options of a stack's conversion."""
    from separator.tasks.learning.conversion import TuningSettings

    parser.add_argument("--preset", type=str | None, default=None, help=f"defaults of the conversion: {' or '.join(PRESETS)}")
    parser.add_class_arguments(TuningSettings, "conversion")


def to_stderr(line: str) -> None:
    """Tell how far the command is."""
    print(line, file=sys.stderr, flush=True)


def quieten_lightning() -> None:
    """Lightning's tips are for its developers' users, not for ours."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")  # Lightning's own
    warnings.filterwarnings("ignore", r".*module\(s\) in eval mode.*")  # dropout and norms of layers in tandem, meant so
    warnings.filterwarnings("ignore", ".*Checkpoint directory.*exists and is not empty.*")
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # epochs alone are logged


class ConfiguredParser(jsonargparse.ArgumentParser):
    """jsonargparse's parser; groups of arguments added for a class come back as objects of that class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._classes: dict[str, type[Any]] = {}
        self._required: list[argparse.Action] = []
        super().__init__(*args, **kwargs)

    def add_class_arguments(self, theclass: type[Any], nested_key: str | None = None, *args: Any, **kwargs: Any) -> list[str]:
        """Add the settings of a class; --help tells what its comments say of each."""
        if nested_key is not None:
            self._classes[nested_key] = theclass
        added: list[str] = super().add_class_arguments(theclass, nested_key, *args, **kwargs)
        return added

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        """Options with what they are for, the required ones alone in the first line."""
        from separator.cli.options.explained import explanations

        told: dict[str, str] = {}
        for prefix, kind in self._classes.items():
            told |= explanations(kind, prefix)
        for action in self._actions:
            if not action.help and (action.dest in told or action.dest.rpartition(".")[0] in self._classes):
                action.help = _with_default(told.get(action.dest, ""), action.default).replace("%", "%%")
            if action.metavar is None and action.choices is None and action.option_strings:
                action.metavar = action.dest.rpartition(".")[2].upper()
        required = [f"{action.option_strings[0]} {action.metavar}" for action in self._required]
        self.usage = " ".join(["%(prog)s", *required, "[OPTION VALUE]..."])
        text: str = super().format_help(formatter)
        return text

    def parse_args(self, args: Sequence[str] | None = None, **kwargs: Any) -> jsonargparse.Namespace:  # type: ignore[override]
        """Parse, then build the objects; values that an object refuses are errors like any wrong argument.

        A preset, wherever it is given, changes defaults only: files and other options have their way.
        """
        args = sys.argv[1:] if args is None else args
        self._required = [action for action in self._actions if action.required]  # while it parses, jsonargparse has none so
        reading = [arg for arg in args if not arg.startswith("--print_")]
        if len(reading) < len(args):
            for action in self._actions:  # nothing is run, so that nothing need be given
                action.required = False
        try:
            parsed = super().parse_args(reading, **kwargs)
            name = parsed.get("preset")
            if name is not None:
                self.set_defaults({f"conversion.{field}": value for field, value in preset(name).items()})
            if name is not None or len(reading) < len(args):
                parsed = super().parse_args(args, **kwargs)
            built: jsonargparse.Namespace = self.instantiate(parsed)
            built[CONFIGURATION] = partial(self._written, parsed)
            return built
        except (ValueError, UserError) as error:
            self.error(str(error))

    def _written(self, parsed: jsonargparse.Namespace) -> str:
        """Values as a file, without the folder of results: another one is taken, wherever --out stands on the command line."""
        kept = parsed.clone()
        kept.pop("out", None)
        text: str = self.dump(kept, format="yaml", skip_unset=False, skip_validation=True)
        return text

    def parse_path(self, path: Any, **kwargs: Any) -> jsonargparse.Namespace:
        """Read a file of --config; one that is none is told by its name, where jsonargparse shows all of its text."""
        reason = ""
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (ValueError, yaml.YAMLError) as error:
            content, reason = None, f" ({error})"
        if not isinstance(content, dict):
            self.error(f"{path} is no configuration, a YAML file with names of options and their values{reason}")
        parsed: jsonargparse.Namespace = super().parse_path(path, **kwargs)
        return parsed

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """One line, where jsonargparse prints all options first, dozens of lines of them."""
        if not self.exit_on_error:
            super().error(message, ex)
        line = re.sub(r"typing\.|<class '(\w+)'>", r"\1", " ".join(message.split()))
        self.exit(2, f"{self.prog}: error: {line} (--help tells more)\n")


def _with_default(text: str, default: Any) -> str:
    """What an option is for, with its default as a configuration would have it."""
    if default is None or default == argparse.SUPPRESS or not isinstance(default, bool | int | float | str | tuple | list):
        return text
    shown = str(default).lower() if isinstance(default, bool) else str(list(default) if isinstance(default, tuple) else default)
    return f"{text} ({shown or 'empty'})".strip()
