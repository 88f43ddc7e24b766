"""Ctrl-C in a running command."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def interrupted(options: Sequence[str], begun: Path) -> tuple[int, str]:
    """Exit status and stderr of `separator OPTIONS`, interrupted once the file `begun` is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "separator.cli.main", *options],
        stderr=subprocess.PIPE,
        text=True,
        # A suite run in the background may itself ignore Ctrl-C, and hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not begun.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    return process.returncode, error
