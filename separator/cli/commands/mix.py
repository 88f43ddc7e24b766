"""Make mixtures from a list, by the protocol of WSJ0-2mix.

  separator mix --corpus ../corpus8k/test --list test.txt --draw 3000 --seed 2 --out data/wav8k/min/test
  separator mix --corpus ../corpus8k/test --list test.txt --out data/wav8k/min/test
  separator mix --wsj0 /ldc/csr_1 --levels activlev --genders spkrinfo.txt --list mix_2_spk_tt.txt --out data/wav8k/min/tt
  separator mix --wsj0 /ldc/csr_1 --list mix_2_spk_tt.txt --mode max --rate 16000 --out data/wav16k/max/tt

The folder gets mix/, s1/, s2/ with 16-bit wav files and the index mixtures.tsv; made.json says how they were made.
A repeated call makes what is missing, in the same way.
"""

import argparse
from pathlib import Path

from separator.cli.options.arguments import positive, sample_rate
from separator.corpora.kaldi import read_corpus
from separator.corpora.lists import MixtureList, make_list, read_list, write_list
from separator.corpora.mixing import MODES
from separator.corpora.mixtures import Source, corpus_sources, write_mixtures
from separator.corpora.wsj0 import wsj0_sources
from separator.errors import UserError
from separator.parallel import cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator mix`."""
    speech = parser.add_mutually_exclusive_group(required=True)
    speech.add_argument("--corpus", type=Path, metavar="DIR", help="Kaldi data folder")
    speech.add_argument("--wsj0", type=Path, metavar="DIR", help="WSJ0 as the LDC publishes it, or converted to wav")
    parser.add_argument("--list", type=Path, required=True, metavar="FILE", help="mixture list in the format of WSJ0-2mix")
    parser.add_argument("--draw", type=int, metavar="N", help="first draw N mixtures of --corpus and write them to --list")
    parser.add_argument("--seed", type=int, help="of the draw (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the mixtures; without it only the list is drawn")
    parser.add_argument("--mode", choices=MODES, default="min", help="cut to the shortest source or pad (default: %(default)s)")
    parser.add_argument("--rate", type=sample_rate, default=8000, metavar="HZ", help="sample rate (default: %(default)s)")
    parser.add_argument("--levels", type=Path, metavar="DIR", help="WSJ0: active speech levels; measured if not given")
    parser.add_argument("--genders", type=Path, metavar="FILE", help="WSJ0: speakers and their genders, one a line")
    parser.add_argument("--jobs", type=positive, default=cores(), metavar="N", help="processes (default: all cores)")


def _draw_list(path: Path, sources: dict[str, Source], count: int, seed: int) -> MixtureList:
    """Draw a list and write it; a list that is there already must be the same."""
    mixtures = make_list({name: source.speaker for name, source in sources.items()}, count, seed)
    if not path.exists():
        write_list(mixtures, path)
    elif read_list(path) != mixtures:
        raise UserError(
            f"{path} exists and differs from {count} mixtures drawn with seed {seed}; remove it or leave out --draw"
        )
    return mixtures


def run(arguments: argparse.Namespace) -> int:
    """Draw a list, make mixtures, or both."""
    if arguments.draw is None and not arguments.out:
        raise UserError("nothing is asked for; give --draw for a list, --out for its mixtures, or both")
    if arguments.draw is None and arguments.seed is not None:
        raise UserError("--seed is of the draw; give --draw, or leave it out")
    if arguments.corpus:
        sources = corpus_sources(read_corpus(arguments.corpus))
        if arguments.levels or arguments.genders:
            raise UserError("--levels and --genders belong to --wsj0; a Kaldi data folder has its own spk2gender")
    else:
        sources = wsj0_sources(arguments.wsj0, arguments.levels, arguments.genders)
        if arguments.draw is not None:
            raise UserError("--draw works on a Kaldi data folder (--corpus); for WSJ0 take the official lists")
    if arguments.draw is None:
        mixtures = read_list(arguments.list)
    elif arguments.draw < 1:
        raise UserError(f"--draw takes a positive number of mixtures, not {arguments.draw}")
    else:
        mixtures = _draw_list(arguments.list, sources, arguments.draw, arguments.seed or 0)
    print(f"{mixtures.sha256}  {arguments.list}")
    if arguments.out:
        made = write_mixtures(mixtures, sources, arguments.out, arguments.mode, arguments.rate, arguments.jobs)
        print(f"{arguments.out}: {len(mixtures.entries)} mixtures, {made} of them made now")
    return 0
