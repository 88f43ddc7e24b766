from pathlib import Path

import numpy as np
import pytest

from separator.tasks.benchmark import memory

only_linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="told by Linux alone")


@only_linux
def test_work_counts_beyond_what_was_held_before():
    held = np.ones(5_000_000)  # 40 MB
    assert memory.working_memory(lambda: np.ones(10_000_000).sum()) == pytest.approx(80, abs=15)
    assert memory.working_memory(lambda: held.sum()) < 15


def test_systems_that_do_not_tell_are_not_asked(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(memory, "RESET", tmp_path / "not" / "there")
    assert memory.working_memory(lambda: done.append(1)) is None
    (tmp_path / "status").write_text("Name: x\n")
    monkeypatch.setattr(memory, "RESET", tmp_path / "reset")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    assert memory.working_memory(lambda: done.append(1)) is None
