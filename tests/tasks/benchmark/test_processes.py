import pytest

from separator.errors import UserError
from separator.models import ModelCard, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.tasks.benchmark.processes import benchmark


def test_every_system_is_measured_on_every_length(tmp_path):
    config = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
    path = tmp_path / "tiny.safetensors"
    save_model(path, TasNet(config).eval(), ModelCard("tiny", config.to_dict()))
    results = benchmark([str(path)], [0.5, 1.0], threads=1)
    assert [(result.case.system, result.case.seconds) for result in results] == [(str(path), 0.5), (str(path), 1.0)]
    assert all(result.elapsed > 0 and 50 < result.memory < 20_000 for result in results)


def test_unknown_system_is_one_line():
    with pytest.raises(UserError, match="nonsense cannot be measured: no model 'nonsense'"):
        benchmark(["nonsense"], [1.0], threads=1)
