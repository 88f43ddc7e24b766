"""Command lines: arguments in, exit status out; the work is done in `separator.tasks`."""

import _signal  # type: ignore[import-not-found]
import os
import sys
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143  # exit statuses, as shells have them
# What a command's first argument is while it starts: the console scripts, `python -m separator.cli.…`, `python -c`.
PROGRAMS = ("separate", "separator", "-m", "-c")
# Threads that wait for others soon sleep, in place of keeping a core busy in the hope of more work: beside other programs, that
# may hold up what they wait for, separating then takes a third to three fifths of the time. Read when numpy and torch load.
PATIENT = {"GOMP_SPINCOUNT": "20000", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}


def _program() -> str:
    return sys.argv[0].rpartition(os.sep)[2] if sys.argv else ""  # pathlib takes longer to import than all else here


def leave_at_once(*_: object) -> None:
    """End the process on Ctrl-C while it starts; nothing has been begun then."""
    program = "separator" if _program() == "separator" else "separate"
    os.write(2, f"{program}: interrupted\n".encode())
    os._exit(INTERRUPTED)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt the work on Ctrl-C; while a module is imported, end the process: compiled ones lose the exception.

    Raises:
        KeyboardInterrupt: it is not.
    """
    below = frame
    while below is not None:
        if below.f_code.co_filename.startswith("<frozen importlib"):
            leave_at_once()
        below = below.f_back
    _signal.default_int_handler(number, frame)


def is_starting() -> bool:
    """True if Ctrl-C ends the process at once, as it does until `report_errors` takes care of it."""
    return _signal.getsignal(_signal.SIGINT) is leave_at_once


# As the first of all, and not by the module signal, which takes a while to import. Other programs are left alone.
if _program() in PROGRAMS:
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in PATIENT.items():
            os.environ.setdefault(name, value)
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, leave_at_once)
