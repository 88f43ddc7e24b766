import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.tasks.mixture_sets import save_tiny_models

DEMO = Path(__file__).parents[2] / "egs" / "demo"


@pytest.fixture
def demo():
    spec = spec_from_file_location("demo", DEMO / "demo.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_demo_prints_scores_and_writes_files(tmp_path, capsys, demo):
    models = save_tiny_models(tmp_path)
    assert demo.main([str(path) for path in models], tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line.split() for line in lines if line.startswith(("mixture", "tiny"))]
    assert [(name, len(values)) for name, *values in table] == [("mixture", 3), ("tiny-ann", 4), ("tiny-snn", 4)] * 2
    assert table[0][2] == table[3][2] == "0.00" and table[1:3] != table[4:]
    out, mixtures = tmp_path / "out", ("mix", "alike")
    files = [out / name / f"{mix}_s{n}.wav" for mix in mixtures for name in ("tiny-ann", "tiny-snn") for n in (1, 2)]
    files += [out / f"{mix}-{name}.png" for mix in mixtures for name in ("spectrograms", "tiny-snn-spikes")]
    assert all(path.is_file() and str(path) in lines for path in files)


def test_demo_of_an_analog_network_draws_no_spikes(tmp_path, demo):
    assert demo.main([str(save_tiny_models(tmp_path)[0])], tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["alike-spectrograms.png", "mix-spectrograms.png"]


@pytest.mark.parametrize("name", ["mix", "alike"])
def test_shipped_sources_add_up_to_the_shipped_mixture(name):
    mixture, first, second = (
        soundfile.read(DEMO / f"{name}{ending}.wav", dtype="int16")[0].astype(int) for ending in ("", "-1", "-2")
    )
    assert np.abs(mixture - first - second).max() <= 2  # each is rounded to 16 bits


def test_help_needs_no_installation():
    shown = subprocess.run(["bash", DEMO / "run.sh", "--help"], capture_output=True, text=True, check=True)
    assert "egs/demo/run.sh" in shown.stdout
    assert shown.stderr == ""
