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
    table = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("mixture", "tiny"))}
    assert {name: len(values) for name, values in table.items()} == {"mixture": 3, "tiny-ann": 4, "tiny-snn": 4}
    assert table["mixture"][1] == "0.00"
    files = [tmp_path / "out" / name / f"mix_s{n}.wav" for name in ("tiny-ann", "tiny-snn") for n in (1, 2)]
    files += [tmp_path / "out" / name for name in ("spectrograms.png", "tiny-snn-spikes.png")]
    assert all(path.is_file() and str(path) in lines for path in files)


def test_demo_of_an_analog_network_draws_no_spikes(tmp_path, demo):
    assert demo.main([str(save_tiny_models(tmp_path)[0])], tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["spectrograms.png"]


def test_shipped_sources_add_up_to_the_shipped_mixture():
    mixture, first, second = (
        soundfile.read(DEMO / name, dtype="int16")[0].astype(int) for name in ("mix.wav", "s1.wav", "s2.wav")
    )
    assert np.abs(mixture - first - second).max() <= 2  # each is rounded to 16 bits


def test_help_needs_no_installation():
    shown = subprocess.run(["bash", DEMO / "run.sh", "--help"], capture_output=True, text=True, check=True)
    assert "egs/demo/run.sh" in shown.stdout
    assert shown.stderr == ""
