"""Ctrl-C in a running command."""

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.recipes.running import quick_command


def interrupted(options: Sequence[str], begun: Path) -> tuple[int, str]:
    """Exit status and stderr of `separator OPTIONS`, interrupted once the file `begun` is there."""
    process = subprocess.Popen([str(quick_command() / "separator"), *options], stderr=subprocess.PIPE, text=True)
    while not begun.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    return process.returncode, error
