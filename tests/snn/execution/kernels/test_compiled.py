"""Compiled code that is kept between processes, and what becomes of it there."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

KERNEL = """
from separator.snn.execution.kernels.compiled import compiled

@compiled
def doubled(x):
    return 2 * x + 1
"""
RUN = "import kernel; print(kernel.doubled(20), sum(kernel.doubled.stats.cache_hits.values()))"


def run(folder, **environment):
    """What a process of its own computes, and how often it found compiled code; stderr."""
    path = os.pathsep.join([str(folder), str(Path.cwd())])
    variables = os.environ | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(folder / "cache")} | environment
    done = subprocess.run([sys.executable, "-c", RUN], env=variables, capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with a kernel and its compiled code."""
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "kernel.py").write_text(KERNEL)
    assert run(folder) == ("41 0\n", "")
    assert run(folder) == ("41 1\n", "")
    return folder


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    """One bit of what would run."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [cut, flipped, lambda content: b"", lambda content: np.random.default_rng(0).bytes(500)])
def test_damaged_code_is_compiled_anew_and_kept(kept, suffix, damage):
    (path,) = kept.rglob(f"*.{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    assert run(kept) == ("41 0\n", "")
    assert run(kept) == ("41 1\n", "")


def test_code_that_cannot_be_kept_is_compiled_in_each_process(tmp_path):
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "file").touch()
    assert run(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache"), HOME=str(tmp_path / "file")) == ("41 0\n", "")
    run(tmp_path)
    for path in tmp_path.rglob("*.nb?"):  # where something else took the place of the files
        path.unlink()
        path.mkdir()
    assert run(tmp_path) == ("41 0\n", "")
