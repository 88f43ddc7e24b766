"""`separate`: split recordings of overlapping talkers into one wav file for each talker."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from separator.cli import TERMINATED
from separator.cli.main import comes_of_ctrl_c, report_errors, writes_help
from separator.cli.options.arguments import positive
from separator.cli.streams import put, tell
from separator.errors import UsageError, UserError, mendable
from separator.models.format.text import printable
from separator.ranges import MOST
from separator.version import __version__

# torch takes seconds to import: whatever needs it is imported where it is used, so that --help answers at once.
if TYPE_CHECKING:
    from separator.tasks.separation.files import SeparationReport, Separator
    from separator.tasks.separation.inputs import Job

EPILOG = """\
examples:
  separate mix.wav                       write mix_s1.wav and mix_s2.wav beside it
  separate -o out *.flac                 write into the folder out
  separate -r recordings -o out          all sound files of a folder, with its sub-folders
  separate --model FILE mix.wav          a model file instead of a shipped model
  separate --shifts 2 mix.wav            a little better, in twice the time
  ffmpeg -i talk.mp4 -f wav - | separate - -o out
  separate - < mix.wav > sources.wav     one wav, a channel for each talker
  arecord -f S16_LE -r 8000 | separate --stream | aplay       live, a channel for each talker
  separate --stream --raw s16le --rate 16000 --to s1 s2       live, to two named pipes

Any sample rate, length and number of channels that libsndfile reads is taken; channels are averaged. Files are read to
their true end, whatever length their header states; a line on stderr tells what is lost of a cut-off or damaged one.
Sources have the rate and length of the mixture and are scaled to add up to it. With -r, hidden files are passed over, and
earlier outputs: files in the output folder, files NAME_s1.wav beside their mixture NAME.*, and files whose comment says so.
Inputs whose sources are there already, made of the same sound by the same model and options, are not separated again;
sources that were made otherwise are refused, unless --overwrite replaces them.
With --stream, what came before an error or Ctrl-C is separated and written all the same.
The exit status is 0 if all was separated, 1 if an input or the model failed, 2 for a wrong command line.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `separate`."""
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="sound files, folders with -r, or - for stdin")
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="folder for the sources, made if absent; - writes one wav with a channel for each source to stdout "
        "(default: beside the input; stdout for stdin)",
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="take all sound files of folders and sub-folders")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        metavar="MODEL",
        help="name of a shipped model, or a model file; MODEL@N for N time steps (default: the spiking one)",
    )
    model.add_argument("--list-models", action="store_true", help="describe the shipped models and leave")
    model.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... or auto (default: %(default)s)")
    model.add_argument("--window", type=positive, metavar="N", help="time steps of the spiking model")
    model.add_argument(
        "--shifts",
        type=positive,
        default=1,
        metavar="N",
        help="average what the model makes of N slightly delayed copies of the mixture, in N times the time: 2 separate a "
        "little better, more hardly better than 2 (default: %(default)s)",
    )
    model.add_argument("--segment", type=_seconds, metavar="S", help="seconds computed at a time, for memory (default: 12)")
    sound = parser.add_argument_group("output")
    sound.add_argument(
        "--clip",
        choices=("rescale", "clamp", "none"),
        default="rescale",
        help="sources over full scale: lower all by one gain, cut the peaks, or leave them to the format, "
        "which cuts 16-bit samples (default: %(default)s)",
    )
    sound.add_argument(
        "--level",
        choices=("mixture", "model"),
        help="scale sources to add up to the mixture, or by the one gain in the model's card, as live sound is "
        "(default: model if it is causal, else mixture)",
    )
    sound.add_argument("--float32", action="store_true", help="32-bit float samples instead of 16-bit integers")
    sound.add_argument(
        "--json",
        action="store_true",
        help="one JSON object a line for each input on stdout (stderr, if sources go to stdout): seconds, real-time "
        "factor, and for a spiking model spikes, synaptic operations and firing rates",
    )
    live = parser.add_argument_group("live sound")
    live.add_argument(
        "--stream",
        action="store_true",
        help="separate stdin while it comes, a wav stream or --raw samples, to stdout in the same form, a channel for each "
        "source, or to the files of --to or -o",
    )
    live.add_argument("--raw", choices=("s16le", "f32le"), help="samples without a header: 16-bit integers or 32-bit floats")
    live.add_argument("--rate", type=positive, metavar="HZ", help="sample rate of --raw (default: the model's)")
    live.add_argument("--channels", type=positive, metavar="N", help="channels of --raw, which are averaged (default: 1)")
    live.add_argument("--to", nargs="+", metavar="FILE", help="a file or named pipe for each source")
    live.add_argument("--timeout", type=_seconds, metavar="S", help="give up when no sound comes for so long (default: never)")
    sound.add_argument(
        "-q", "--quiet", action="store_true", help="no progress and no notes, only errors and what of a file is lost"
    )


def run(arguments: argparse.Namespace) -> int:
    """Separate all inputs; return 0, or 1 if one of them failed."""
    if arguments.list_models:
        from separator.cli.shipped import list_models

        return list_models(arguments.json)
    if arguments.stream:
        from separator.cli.stream import run_stream

        return run_stream(arguments)
    _require_stream(arguments)
    if not arguments.inputs:
        raise UsageError("nothing to separate: name a sound file, or see --help")
    _require_one_for_stdout(arguments)
    _require_folder(arguments.output)
    from separator.tasks.separation.inputs import find_jobs

    failures: list[str] = []
    jobs: list[Job] = []
    try:
        for name in arguments.inputs:
            try:
                jobs += find_jobs(name, arguments.output, arguments.recursive)
            except Exception as error:
                failures.append(_failed(arguments, name, error))
        jobs = list(dict.fromkeys(jobs))  # what is named twice is separated once
        inputs = len(jobs) + len(failures)
        if jobs:
            for failure in separate_all(arguments, _load(arguments), jobs):
                failures.append(failure)
    finally:  # after Ctrl-C, too
        for failure in failures:
            tell(f"separate: error: {failure}")
    if failures and inputs > 1:
        tell(f"separate: {len(failures)} of {inputs} inputs failed")
    return 1 if failures else 0


def separate_all(arguments: argparse.Namespace, separator: "Separator", jobs: "list[Job]") -> Iterator[str]:
    """Separate each input that is not done yet; yield a line for each that failed, whatever was wrong with it."""
    from separator.tasks.separation.outputs import Claims, output_paths

    claims = Claims(job.source for job in jobs)
    for job in jobs:
        try:
            if job.problem:
                raise UserError(job.problem)
            claims.claim(job.source, output_paths(job.source, job.output_dir, separator.n_src))
            _separate(arguments, separator, job)
        except BrokenPipeError:  # nobody reads the rest either
            raise
        except Exception as error:
            yield _failed(arguments, job.source, error)


def _separate(arguments: argparse.Namespace, separator: "Separator", job: "Job") -> None:
    options = {"clip": arguments.clip, "float32": arguments.float32}
    if not arguments.overwrite and separator.has_separated(job.source, job.output_dir, **options):
        _tell_done(arguments, job, separator.n_src)
        return
    with progress_bar(job.source, not arguments.quiet and sys.stderr.isatty()) as progress:
        report = separator.separate_file(
            job.source,
            job.output_dir,
            **options,
            overwrite=arguments.overwrite or "same",  # a part of its sources may be there
            activity=arguments.json,
            progress=progress,
        )
    _tell(arguments, report)


def _require_one_for_stdout(arguments: argparse.Namespace) -> None:
    if arguments.inputs.count("-") > 1:
        raise UsageError("stdin can be read once only")
    if not _to_stdout(arguments):
        return
    if len(arguments.inputs) > 1 or Path(arguments.inputs[0]).is_dir():
        raise UsageError("only one input can be separated to stdout; use -o DIR")
    if sys.stdout.isatty():
        raise UsageError("sources would go to the terminal; redirect stdout or use -o DIR")


def _require_folder(output: str | None) -> None:
    from separator.audio.files import SUFFIX

    if output is not None and SUFFIX.fullmatch(Path(output).suffix) and not Path(output).is_dir():
        raise UsageError(f"-o takes a folder for the sources, not a sound file; make the folder {output} if it is to be one")


def _require_stream(arguments: argparse.Namespace) -> None:
    for option in ("raw", "rate", "channels", "to", "timeout"):
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option} is of live sound; say --stream")


def _to_stdout(arguments: argparse.Namespace) -> bool:
    return arguments.output == "-" or (arguments.output is None and "-" in arguments.inputs)


def _load(arguments: argparse.Namespace) -> "Separator":
    from separator.tasks.separation.files import SEGMENT, Separator
    from separator.tasks.separation.pacing import leave_busy_cores

    leave_busy_cores()
    return Separator.from_pretrained(
        arguments.model,
        device=arguments.device,
        window=arguments.window,
        segment=SEGMENT if arguments.segment is None else arguments.segment,
        level=arguments.level,
        shifts=arguments.shifts,
    )


def _tell(arguments: argparse.Namespace, report: "SeparationReport") -> None:
    if arguments.json:
        _print_json(arguments, report.to_dict())
    source = _shown(report.input)
    if not arguments.quiet:
        outputs = "stdout" if report.outputs == ("-",) else ", ".join(report.outputs)
        tell(f"{source} -> {outputs} ({report.seconds:.1f} s in {report.elapsed:.1f} s)")
    elif report.complete:  # what is lost is told all the same
        return
    for note in report.notes:
        tell(f"{source}: {note}")


def _tell_done(arguments: argparse.Namespace, job: "Job", n_src: int) -> None:
    from separator.tasks.separation.outputs import output_paths

    outputs = [str(path) for path in output_paths(job.source, job.output_dir, n_src)]
    if arguments.json:
        _print_json(arguments, {"input": job.source, "outputs": outputs, "done_before": True})
    if not arguments.quiet:
        tell(f"{job.source} -> {', '.join(outputs)} (done before, by the same settings)")


def _failed(arguments: argparse.Namespace, source: str, error: Exception) -> str:
    """Make the line for the end; with --json print an object at once, so that each input has one."""
    if comes_of_ctrl_c(error):
        raise error
    failure = mendable(error) or f"a defect of this program, please report it: {type(error).__name__}: {error}"
    line = " ".join(str(failure).split())
    if arguments.json:
        with suppress(UserError):  # told of by then
            _print_json(arguments, {"input": source, "error": line})
    name = " ".join(_shown(source).split())
    return line if name in line else f"{name}: {line}"


def _shown(source: str) -> str:
    return "stdin" if source == "-" else source


def _print_json(arguments: argparse.Namespace, value: Any) -> None:
    stream: TextIO = sys.stderr if _to_stdout(arguments) else sys.stdout
    put(json.dumps(value), stream)


@contextmanager
def progress_bar(name: str, visible: bool) -> Iterator[Any]:
    """Yield a callback that draws a bar on stderr when the work takes over 2 s; None if it is not to be visible."""
    if not visible:
        yield None
        return
    from tqdm import tqdm

    with tqdm(
        desc=printable(Path(name).name), unit="s", delay=2, leave=False, bar_format="{l_bar}{bar}| {remaining} left"
    ) as bar:

        def progress(done: float, total: float) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < MOST:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds, 0 to below {MOST:g}")
    return number


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)


def entry(arguments: list[str] | None = None) -> int:
    """Console entry point of `separate`; returns the exit status."""

    def main() -> int:
        # A polite kill cleans up as Ctrl-C does.
        signal.signal(signal.SIGTERM, _terminate)
        return run(_parsed(arguments))

    return report_errors("separate", main)


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="separate",
        description="Split recordings of overlapping talkers into one wav file for each talker.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"separate {__version__}")
    add_arguments(parser)
    given = sys.argv[1:] if arguments is None else arguments
    # What follows -- is an input; argparse forgets that when options may stand between inputs.
    options, names = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    with writes_help("separate"):
        parsed = parser.parse_intermixed_args(options)
    parsed.inputs += names
    return parsed


if __name__ == "__main__":
    sys.exit(entry())
