"""Read a corpus and lay it out for the recipes; a repeated call goes on where an earlier one stopped.

  separator prepare open-2mix --librispeech LibriSpeech --speechocean762 speechocean762 --out data/corpus
  separator prepare wsj0 --wsj0 /ldc/csr_1 --lists create-speaker-mixtures --out data/wsj0

open-2mix makes Kaldi data folders train, dev (speakers of train) and test (other speakers) from the unpacked downloads.
wsj0 converts the recordings that the mixture lists name, first microphone only, to wav files under the names in the lists.
"""

import argparse
from pathlib import Path

from separator.cli.options.arguments import not_negative, positive, sample_rate
from separator.corpora.lists import read_list
from separator.corpora.preparation import prepare_corpus, read_librispeech, read_speechocean762
from separator.corpora.wsj0 import convert_wsj0
from separator.errors import UserError
from separator.parallel import cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator prepare`."""
    corpora = parser.add_subparsers(dest="corpus", required=True, metavar="CORPUS")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    common.add_argument("--jobs", type=positive, default=cores(), metavar="N", help="processes (default: all cores)")
    open_2mix = corpora.add_parser("open-2mix", parents=[common], help="LibriSpeech, speechocean762 or both")
    open_2mix.add_argument("--librispeech", type=Path, metavar="DIR", help="OpenSLR 12, unpacked (train-clean-100 is enough)")
    open_2mix.add_argument("--speechocean762", type=Path, metavar="DIR", help="OpenSLR 101, unpacked")
    open_2mix.add_argument("--rate", type=sample_rate, default=8000, metavar="HZ", help="sample rate (default: %(default)s)")
    open_2mix.add_argument(
        "--utterances", type=not_negative, default=40, metavar="N", help="most of a speaker, 0 for all (default: %(default)s)"
    )
    open_2mix.add_argument("--seed", type=int, default=0, help="of the division into sets (default: %(default)s)")
    wsj0 = corpora.add_parser("wsj0", parents=[common], help="WSJ0 (LDC93S6A or LDC93S6B)")
    wsj0.add_argument("--wsj0", type=Path, required=True, metavar="DIR", help="root of WSJ0, discs in any layout")
    wsj0.add_argument("--lists", type=Path, required=True, metavar="DIR", help="folder with mix_2_spk_{tr,cv,tt}.txt")


def _prepare_open_2mix(arguments: argparse.Namespace) -> None:
    readers = ((read_librispeech, arguments.librispeech), (read_speechocean762, arguments.speechocean762))
    downloads = [read(folder) for read, folder in readers if folder]
    if not downloads:
        raise UserError("give --librispeech, --speechocean762 or both")
    limit = arguments.utterances or None
    corpora = prepare_corpus(downloads, arguments.out, arguments.rate, limit, arguments.seed, arguments.jobs)
    for name, corpus in corpora.items():
        hours = sum(utterance.duration or 0 for utterance in corpus.utterances) / 3600
        print(f"{name}: {len(corpus.by_speaker)} speakers, {len(corpus.utterances)} utterances, {hours:.2f} hours")


def _prepare_wsj0(arguments: argparse.Namespace) -> None:
    lists = {path.name: read_list(path) for path in sorted(arguments.lists.glob("mix_*_spk_*.txt"))}
    if not lists:
        raise UserError(f"{arguments.lists} holds no mixture lists (mix_2_spk_tr.txt, mix_2_spk_cv.txt, mix_2_spk_tt.txt)")
    converted = convert_wsj0(arguments.wsj0, lists, arguments.out, arguments.jobs)
    print(f"{arguments.out}: {converted} recordings converted now")


def run(arguments: argparse.Namespace) -> int:
    """Prepare the chosen corpus."""
    {"open-2mix": _prepare_open_2mix, "wsj0": _prepare_wsj0}[arguments.corpus](arguments)
    return 0
