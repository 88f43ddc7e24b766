"""Imports go one way: the contracts of pyproject.toml, and that they would find what they forbid."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


def lint_imports(folder):
    """Check the contracts on the package in `folder`; returns the exit status and the report."""
    command = [Path(sys.executable).parent / "lint-imports", "--config", folder / "pyproject.toml", "--no-cache"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


def test_rooms_import_only_what_is_below_them():
    status, report = lint_imports(PROJECT)
    assert status == 0, report
    assert "3 kept, 0 broken" in report


@pytest.mark.parametrize(
    ("room", "line", "broken"),
    [
        ("snn", "from separator.audio.level import fit_peak", "3 broken"),
        ("snn", "def later():\n    import separator.models.tasnet", "3 broken"),
        ("metrics", "from separator.corpora import mixing", "1 broken"),
        ("new_room", "", "1 broken"),
    ],
)
def test_a_forbidden_import_breaks_a_contract(tmp_path, room, line, broken):
    weights = shutil.ignore_patterns("*.safetensors", "__pycache__")
    shutil.copytree(PROJECT / "separator", tmp_path / "separator", ignore=weights)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    (tmp_path / "separator" / room).mkdir(exist_ok=True)
    (tmp_path / "separator" / room / "__init__.py").touch()
    (tmp_path / "separator" / room / "wrong.py").write_text(line)
    status, report = lint_imports(tmp_path)
    assert status == 1
    assert broken in report, report
