"""Memory that a piece of work takes: of the process, as Linux tells it, or of tensors on a GPU."""

import re
from collections.abc import Callable
from pathlib import Path

import torch

from separator.allocation import give_back_freed_memory

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def working_memory(work: Callable[[], object], device: str = "cpu") -> float | None:
    """The most that is held during `work` beyond what was held before, in MB; None where the system does not tell.

    Args:
        work: what is done, once.
        device: of its tensors. On a CPU the process's memory counts, on a GPU what tensors take there.
    """
    if torch.device(device).type == "cuda":
        held = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return most_of_tensors(device) - held / 1e6
    try:
        give_back_freed_memory()
        RESET.write_text("5")  # the peak so far is forgotten
        before = _kilobytes("VmRSS")
        work()
        return (_kilobytes("VmHWM") - before) / 1e3
    except OSError:
        return None


def most_of_tensors(device: str) -> float:
    """The most that tensors took on a GPU since `working_memory` last began there, in MB; what the allocator keeps apart."""
    return torch.cuda.max_memory_allocated(device) / 1e6


def _kilobytes(field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no {field}")
    return int(found[1])
