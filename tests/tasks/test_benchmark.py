import pytest

from separator.errors import UserError
from separator.models import ModelCard, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.tasks.benchmark import Measurement, benchmark, to_markdown


def test_every_system_is_measured_on_every_length(tmp_path):
    config = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
    path = tmp_path / "tiny.safetensors"
    save_model(path, TasNet(config).eval(), ModelCard("tiny", config.to_dict()))
    results = benchmark([str(path)], [0.5, 1.0], threads=1)
    assert [(result.system, result.seconds) for result in results] == [(str(path), 0.5), (str(path), 1.0)]
    assert all(result.elapsed > 0 and 50 < result.memory < 20_000 for result in results)


def test_unknown_system_is_one_line():
    with pytest.raises(UserError, match="nonsense cannot be measured: no model 'nonsense'"):
        benchmark(["nonsense"], [1.0], threads=1)


def test_ratios_are_to_the_first_system_on_the_same_length():
    results = [Measurement("a", 10, 2.0, 100), Measurement("b", 10, 5.0, 200), Measurement("b", 60, 6.0, 300)]
    rows = [line.split(" | ") for line in to_markdown(results).splitlines()[2:]]
    assert [row[4] for row in rows] == ["1.00", "2.50", "1.00"]
    assert [row[3] for row in rows] == ["0.2000", "0.5000", "0.1000"]
