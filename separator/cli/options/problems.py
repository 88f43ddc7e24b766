"""Commands for any problem: which one is told by the arguments, and its settings become options.

jsonargparse's subclasses would do as much with `--problem.init_args.data.train`; here it is `--data.train`, as in every recipe.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn, get_type_hints

import jsonargparse
import yaml

from separator.cli.options.arguments import named
from separator.cli.options.configured import ConfiguredParser
from separator.errors import UserError
from separator.tasks.problems.registry import DEFAULT, PROBLEMS, Entry, entry_named, problem_of_model

AddOptions = Callable[["ProblemParser", Entry], None]


class ProblemParser(ConfiguredParser):
    """A parser that gets its options once it knows which problem they are for.

    In what it returns, `problem` is an object where there were options for its settings, see `add_problem`, else its name.
    """

    usual: str = DEFAULT  # problem where nothing tells it
    problems: Collection[str] = tuple(PROBLEMS)  # those that the command is for
    add_options: AddOptions
    problem: type[Any] | None = None
    guessed = False  # whether nothing tells the problem

    def parse_args(self, args: Sequence[str] | None = None, **kwargs: Any) -> jsonargparse.Namespace:  # type: ignore[override]
        """Find out the problem, add its options and parse."""
        args = sys.argv[1:] if args is None else args
        told = problem_told(args)
        name = told or self.usual
        self.guessed = not told
        try:
            entry = entry_named(name)
        except UserError as error:
            self.error(str(error))
        if others := "|".join(other for other in self.problems if other != name):
            those = f"These are the options for {name}; those for others: --problem {others} --help."
            self.description = f"{self.description}\n{those}"
        told_by = "what is learned, where neither a configuration nor a model tells"
        self.add_argument("--problem", default=self.usual, help=told_by)
        self.add_options(self, entry)
        # Given, not a default, as --print_config=skip_default leaves defaults out.
        parsed = super().parse_args(["--problem", name, *args], **kwargs)
        if parsed.problem != name:
            self.error(f"--problem is {name}, but the configuration is for {parsed.problem}")
        if self.problem is not None:
            given = [field.name for field in dataclasses.fields(self.problem) if field.name in parsed]
            try:
                parsed["problem"] = self.problem(**{name: parsed[name] for name in given})
            except (ValueError, UserError) as error:
                self.error(str(error))
        return parsed

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """One line, which says what was taken for granted where an option is unknown."""
        others = " or ".join(other for other in self.problems if other != self.usual)
        unknown = any(words in message for words in ("unrecognized arguments", "does not accept option"))
        super().error(f"{message}; for {others}, give --problem" if self.guessed and others and unknown else message, ex)


def problem_told(args: Sequence[str]) -> str | None:
    """Name of the problem that arguments are about, None if they do not tell.

    It is what --problem says, else a configuration's `problem`, else what a model is for that is given by --init or --model.
    """
    seen = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--problem", "--init"):
        seen.add_argument(option)
    seen.add_argument("--config", action="append", default=[])
    seen.add_argument("--model", nargs="*", action="extend", default=[])
    try:
        found, _ = seen.parse_known_args([arg for arg in args if arg not in ("-h", "--help")])
    except argparse.ArgumentError:
        return None  # the parser itself says what is wrong
    told = [found.problem, *(_problem_of_file(path) for path in reversed(found.config))]
    models = [found.init, *found.model]
    told += [problem_of_model(_model(text)) for text in models if text]
    return next((name for name in told if name), None)


def _problem_of_file(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            values = yaml.safe_load(file)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    name = values.get("problem") if isinstance(values, dict) else None
    return None if name is None else str(name)


def _model(text: str) -> str:
    try:
        return named(text)[1]
    except UserError:
        return text


def add_problem(parser: ProblemParser, problem: type[Any], skip: Collection[str] = ()) -> None:
    """Options of a problem's own settings, but for those to skip, GROUP or GROUP.NAME."""
    parser.problem = problem
    kinds = get_type_hints(problem)
    for field in dataclasses.fields(problem):
        kind = kinds[field.name]
        if field.name in skip:
            continue
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            inner = {name.partition(".")[2] for name in skip if name.startswith(f"{field.name}.")}
            parser.add_class_arguments(kind, field.name, skip=inner)
        else:
            parser.add_argument(f"--{field.name}", type=kind, default=field.default, help=field.metadata.get("help"))
    if "network" not in skip:
        usual = dataclasses.asdict(problem.usual_network())
        asked = [field.name for field in dataclasses.fields(kinds["network"]) if field.default is dataclasses.MISSING]
        parser.set_defaults({f"network.{name}": usual[name] for name in asked})


def add_usual(parser: jsonargparse.ArgumentParser, problem: type[Any], group: str, settings: type[Any]) -> None:
    """Options of a group of settings, with what is usual for a problem as their defaults."""
    parser.add_class_arguments(settings, group)
    parser.set_defaults({f"{group}.{name}": value for name, value in problem.defaults.get(group, {}).items()})
