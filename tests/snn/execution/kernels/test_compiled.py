"""Compiled code that is kept between processes, and what becomes of it there."""

import importlib
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


def run(folder, code=RUN, **environment):
    """What a process of its own prints: what it computes, and how often it found compiled code; stderr."""
    path = os.pathsep.join([str(folder), str(Path.cwd())])
    variables = os.environ | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(folder / "cache")} | environment
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=120)
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


DAMAGE = {
    "cut": cut,
    "flipped": flipped,
    "empty": lambda content: b"",
    "noise": lambda content: np.random.default_rng(0).bytes(500),
}


def damage_again_and_again(path):
    """Print what is computed, and how often compiled code is found, at the first and the second import after each damage."""
    for name, damage in DAMAGE.items():
        path.write_bytes(damage(path.read_bytes()))
        for time in ("first", "second"):
            sys.modules.pop("kernel", None)  # numba reads its files anew for a function that is made anew
            kernel = importlib.import_module("kernel")
            print(name, time, kernel.doubled(20), sum(kernel.doubled.stats.cache_hits.values()))


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_code_is_compiled_anew_and_kept(kept, suffix):
    (path,) = kept.rglob(f"*.{suffix}")
    code = f"from pathlib import Path; from {__name__} import damage_again_and_again as run; run(Path({str(path)!r}))"
    output, error = run(kept, code)
    assert error == ""
    assert output.splitlines() == [f"{name} {time}" for name in DAMAGE for time in ("first 41 0", "second 41 1")]
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
