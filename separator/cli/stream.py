"""`separate --stream`: stdin while it comes, sources while they are made."""

import argparse
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from separator.cli import TERMINATED
from separator.cli.streams import tell
from separator.errors import UsageError, UserError

if TYPE_CHECKING:
    from separator.audio.pcm import ByteSource, Encoding, PcmStream
    from separator.tasks.separation.files import Separator


def run_stream(arguments: argparse.Namespace) -> int:
    """Separate stdin until it ends; return 0."""
    _require_sense(arguments)
    from separator.audio.hearing import Hearing
    from separator.audio.pcm import ByteSource, PcmFormat, PcmWriter
    from separator.tasks.separation.live import report_live, separate_live
    from separator.tasks.separation.pacing import keeping_up

    separator = _load(arguments)
    source = ByteSource(sys.stdin.fileno(), arguments.timeout)
    with ExitStack() as stack:
        sound = _sound(arguments, source, separator.sample_rate)
        stream = separator.stream(sound.layout.rate)
        hearing = Hearing(sound.layout.channels, sound.layout.rate)
        files = _outputs(arguments, separator.n_src, stack)
        encoding: Encoding = arguments.raw or ("f32le" if arguments.float32 else "s16le")
        layout = PcmFormat(stream.sample_rate, separator.n_src // len(files), encoding)
        activity = stack.enter_context(separator.recorder(arguments.json))
        writer = stack.enter_context(PcmWriter(files, layout, wav=not arguments.raw, interrupted=lambda: source.interrupted))
        _tell(arguments, f"{sound.layout}; {separator.model.card.name}, sources {1000 * stream.latency_seconds:.1f} ms late")
        try:
            with _interrupting(source):
                blocks = keeping_up(
                    hearing.blocks(sound.frames()), lambda: (stream.pushed / stream.sample_rate, stream.elapsed)
                )
                separate_live(stream, blocks, lambda sources: writer.write(hearing.restored(sources)))
        finally:
            report = report_live(stream, str(separator.model.card.name), writer.cut, activity)
            _tell(arguments, f"{report.seconds:.1f} s separated in {report.elapsed:.1f} s")
            for note in (*hearing.notes(), *sound.notes):
                _tell(arguments, note)
            if report.cut:
                _tell(arguments, f"{report.cut} samples over full scale were cut")
            if arguments.json:
                tell(json.dumps(report.to_dict()))
    if not stream.pushed:
        raise UserError("nothing came from stdin")
    return 0


def _require_sense(arguments: argparse.Namespace) -> None:
    if arguments.inputs not in ([], ["-"]):
        raise UsageError("--stream separates stdin; leave the names of inputs out")
    if arguments.level == "mixture":
        raise UsageError("live sound cannot be levelled to the whole mixture; leave --level out")
    if arguments.shifts != 1:
        raise UsageError("live sound is separated once; leave --shifts out")
    if arguments.recursive or arguments.segment is not None:
        raise UsageError("live sound has no folders, and no segments but those it comes in; leave -r and --segment out")
    if arguments.clip != "rescale":
        raise UsageError("live sound over full scale is cut; leave --clip out, or take floats with --float32 or --raw f32le")
    if not arguments.raw and (arguments.rate or arguments.channels):
        raise UsageError("--rate and --channels are of --raw samples; a wav stream says its own")
    if arguments.raw and arguments.float32:
        raise UsageError("--raw says what samples come and go; leave --float32 out")
    if arguments.to and arguments.output:
        raise UsageError("take one of --to and -o")
    if not arguments.to and arguments.output in (None, "-") and sys.stdout.isatty():
        raise UsageError("sources would go to the terminal; redirect stdout, or use --to or -o")
    if sys.stdin.isatty():
        raise UsageError("stdin is the terminal; pipe sound into it")


def _load(arguments: argparse.Namespace) -> "Separator":
    from separator.models import DEFAULT_LIVE_MODEL
    from separator.tasks.separation.files import Separator

    name = arguments.model or DEFAULT_LIVE_MODEL
    return Separator.from_pretrained(name, device=arguments.device, window=arguments.window, level="model")


def _sound(arguments: argparse.Namespace, source: "ByteSource", model_rate: int) -> "PcmStream":
    from separator.audio.pcm import PcmFormat, PcmStream

    if not arguments.raw:
        return PcmStream.open_wav(source)
    return PcmStream(source, PcmFormat(arguments.rate or model_rate, arguments.channels or 1, arguments.raw))


def _outputs(arguments: argparse.Namespace, n_src: int, stack: ExitStack) -> list[BinaryIO]:
    """Stdout, or a file for each source."""
    from separator.tasks.separation.outputs import output_paths, refuse_existing

    if arguments.to:
        if len(arguments.to) != n_src:
            raise UserError(f"--to takes {n_src} files, one for each source, not {len(arguments.to)}")
        paths = [Path(name) for name in arguments.to]
    else:
        paths = output_paths("-", arguments.output, n_src)
        if arguments.raw:
            paths = [path.with_suffix(".raw") for path in paths]
    _require_apart(paths)
    if not paths:
        return [stack.enter_context(open(sys.stdout.fileno(), "wb", buffering=0, closefd=False))]
    if not arguments.overwrite:
        refuse_existing(filter(Path.is_file, paths))  # named pipes have to exist
    return _opened(paths, stack)


def _require_apart(paths: list[Path]) -> None:
    """Raise a UserError where two sources would go to one file, or one to the file that stdin is."""
    sound = os.fstat(sys.stdin.fileno())
    kept = [path for path in paths if not path.is_char_device()]  # such as /dev/null
    if len({os.path.realpath(path) for path in kept}) < len(kept):
        raise UserError("two sources would go to one file; name a file for each")
    for path in kept:
        if path.is_file() and os.path.samestat(path.stat(), sound):
            raise UserError(f"{path} is the input, and would be lost; name another file")


def _opened(paths: list[Path], stack: ExitStack) -> list[BinaryIO]:
    """Open files for writing; what they hold is lost only once all are open, and where one cannot be opened none is made."""
    absent = [path for path in paths if not os.path.lexists(path)]
    try:
        files = [stack.enter_context(_opened_as_it_is(path)) for path in paths]
    except BaseException:
        for path in absent:
            with suppress(OSError):  # its folder is a file
                path.unlink()
        raise
    for file in files:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # no pipe
            file.truncate()
    return files


def _opened_as_it_is(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "wb", buffering=0, opener=lambda name, flags: os.open(name, flags & ~os.O_TRUNC, 0o666))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _interrupting(source: "ByteSource") -> Iterator[None]:
    """Let Ctrl-C and a polite kill end the sound, not the work on what has come; a second one ends that, too."""
    caught: list[int] = []

    def end(number: int, *_: object) -> None:
        caught.append(number)
        source.interrupt()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        if caught[:1] == [signal.SIGTERM]:
            raise SystemExit(TERMINATED) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.quiet:
        tell(f"stdin: {text}")
