"""Write examples to listen to and look at: sound files, spectrograms, and a page (index.html) that shows them.

  separator examples --mixtures open=data/test --model ann=small-ann snn=small-snn --out examples
  separator examples --mixtures open=data/test --model ann=small-ann snn=small-snn --scores results --out examples

Without --ids, one mixture of each pair of genders is taken; with --scores, the folder of `separator evaluate`, the best, the
median and the worst of each pair by the SI-SDRi of the last model.
"""

import argparse
from pathlib import Path

from separator.cli.options.arguments import apart
from separator.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator examples`."""
    parser.add_argument(
        "--mixtures", nargs="+", required=True, metavar="NAME=DIR", help="sets of mixtures with their condition"
    )
    parser.add_argument("--model", nargs="+", action="extend", required=True, metavar="NAME=MODEL", help="networks to hear")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the examples")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--ids", nargs="+", metavar="ID", help="mixtures to take from each set")
    choice.add_argument(
        "--scores", type=Path, metavar="DIR", help="folder of `separator evaluate` with scores of the last model"
    )
    parser.add_argument("--device", default="cpu", help="of the networks: cpu, cuda, or auto for a GPU if there is one")


def run(arguments: argparse.Namespace) -> int:
    """Write the examples, and print where the page is."""
    from separator.corpora.mixtures import read_mixtures
    from separator.models import load_model
    from separator.tasks.devices import resolve_device
    from separator.tasks.evaluation.mixtures.systems import UNPROCESSED
    from separator.tasks.presentation import examples
    from separator.tasks.separation.files import Separator

    device, folders, models = resolve_device(arguments.device), apart(arguments.mixtures), apart(arguments.model)
    if UNPROCESSED in models:
        raise UserError(f"the name {UNPROCESSED!r} is taken; give the model another one, NAME=MODEL")
    separators = {name: Separator(load_model(model, device=device), device) for name, model in models.items()}
    scored, last = list(separators.items())[-1]
    if arguments.scores:
        examples.check_scores(arguments.scores, scored, last.model)
    written: dict[str, list[examples.Example]] = {}
    for condition, folder in folders.items():
        mixtures = read_mixtures(folder)
        if arguments.ids:
            choices = examples.choose_by_id(mixtures, arguments.ids, condition)
        else:
            scores = None
            if arguments.scores:
                scores = examples.read_improvements(arguments.scores / "scores.csv", condition, scored)
            choices = examples.choose_by_gender(mixtures, scores)
        written[condition] = [
            examples.write_example(choice, separators, arguments.out / condition / choice.mixture.id) for choice in choices
        ]
    page = arguments.out / examples.PAGE
    examples.write_page(written, page)
    print(page)
    return 0
