"""Standard streams, which may be closed, full, or without a reader."""

import os
import sys
from contextlib import suppress
from typing import TextIO

from separator.errors import UserError
from separator.models.format.text import printable

# A closed stream is opened the wrong way round, so that using it fails, as it should, but for stderr, which nobody misses.
WAYS = {"stdin": (os.O_WRONLY, "r"), "stdout": (os.O_RDONLY, "w"), "stderr": (os.O_WRONLY, "w")}


def ensure_standard_streams() -> None:
    """Give the standard streams that are closed a descriptor of their own, which no file that is opened later gets."""
    for name, (flags, mode) in WAYS.items():
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flags), mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def tell(text: str) -> None:
    """Print a line on stderr, if that can be written; what names hold that is no letter to a terminal is shown escaped."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


def put(text: str, stream: TextIO) -> None:
    """Print a line at once.

    Raises:
        UserError: stdout is full or closed.
        BrokenPipeError: nobody reads it.
    """
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon(stream)
        raise UserError(f"cannot write to stdout: {error.strerror}") from error


def flush_stdout() -> None:
    """Write what is left to be written, with the errors of `put`."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon(sys.stdout)
        raise UserError(f"cannot write to stdout: {error.strerror}") from error


def abandon(stream: TextIO) -> None:
    """Let what could not be written to a stream go nowhere, so that Python does not try again when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
