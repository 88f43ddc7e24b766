"""Memory that a piece of work takes, as Linux tells it."""

import re
from collections.abc import Callable
from pathlib import Path

from separator.allocation import give_back_freed_memory

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def working_memory(work: Callable[[], object]) -> float | None:
    """The most that the process holds during `work` beyond what it held before, in MB; None where the system does not tell."""
    try:
        give_back_freed_memory()
        RESET.write_text("5")  # the peak so far is forgotten
        before = _kilobytes("VmRSS")
        work()
        return (_kilobytes("VmHWM") - before) / 1e3
    except OSError:
        return None


def _kilobytes(field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no {field}")
    return int(found[1])
