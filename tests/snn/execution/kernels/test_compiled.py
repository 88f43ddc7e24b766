"""Compiled code that is kept between processes, and what becomes of it there."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core import config

KERNEL = """
from separator.snn.execution.kernels.compiled import compiled

@compiled
def doubled(x):
    return 2 * x + 1
"""
RUN = "import kernel; print(kernel.doubled(20), sum(kernel.doubled.stats.cache_hits.values()))"


def run_apart(folder):
    """What a process of its own prints: what it computes, and how often it found compiled code; stderr."""
    path = os.pathsep.join([str(folder), str(Path.cwd())])
    variables = os.environ | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", RUN], env=variables, capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr


@pytest.fixture
def run(monkeypatch):
    """Computes in this process, with the kernel in a folder and its compiled code in another, and how often that was found."""

    def run(folder, cache):
        monkeypatch.setattr(config, "CACHE_DIR", str(cache))
        with monkeypatch.context() as patched:
            patched.syspath_prepend(folder)
            patched.delitem(sys.modules, "kernel", raising=False)  # numba reads its files anew for a function that is made anew
            kernel = importlib.import_module("kernel")
            return kernel.doubled(20), sum(kernel.doubled.stats.cache_hits.values())

    return run


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with a kernel and its compiled code."""
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "kernel.py").write_text(KERNEL)
    assert run_apart(folder) == ("41 0\n", "")
    assert run_apart(folder) == ("41 1\n", "")
    return folder


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    """One bit of what would run."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE = {
    "cut": cut,
    "flipped": flipped,
    "empty": lambda content: b"",
    "noise": lambda content: np.random.default_rng(0).bytes(500),
}


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_code_is_compiled_anew_and_kept(kept, run, suffix):
    (path,) = kept.rglob(f"*.{suffix}")
    for name, damage in DAMAGE.items():
        path.write_bytes(damage(path.read_bytes()))
        assert (run(kept, kept / "cache"), run(kept, kept / "cache")) == ((41, 0), (41, 1)), name
    assert run_apart(kept) == ("41 1\n", "")


def test_code_that_cannot_be_kept_is_compiled_each_time(tmp_path, run, monkeypatch):
    (tmp_path / "kernel.py").write_text(KERNEL)
    for name in ("file", "__pycache__"):  # in which there is no folder for it
        (tmp_path / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert [run(tmp_path, tmp_path / "file" / "cache") for _ in range(2)] == [(41, 0)] * 2
    assert [run(tmp_path, tmp_path / "cache") for _ in range(2)] == [(41, 0), (41, 1)]
    for path in tmp_path.rglob("*.nb?"):  # where something else took the place of the files
        path.unlink()
        path.mkdir()
    assert run(tmp_path, tmp_path / "cache") == (41, 0)
