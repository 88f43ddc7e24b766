import pytest

from separator.errors import UserError
from separator.models import ModelCard, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.execution.chosen import chosen_execution
from separator.snn.learning.tandem import TandemLayer
from separator.tasks.benchmark.conversion.timing import BATCH, measure_conversion
from separator.tasks.benchmark.measurement import ROUNDS, BenchmarkCase


@pytest.fixture
def tiny(tmp_path):
    config = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
    save_model(tmp_path / "tiny.safetensors", TasNet(config).eval(), ModelCard("tiny", config.to_dict()))
    return str(tmp_path / "tiny.safetensors")


@pytest.mark.parametrize(("backend", "chosen"), [("", "fastest"), ("dense:", "dense")])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_step_of_a_conversion_is_timed(tiny, backend, chosen, layer, monkeypatch):
    epoch, seen = ProgressiveTandemLearning.train_epoch, []

    def watched(engine, *optimiser):
        mixtures = [len(batch) for batch in engine.layer_batches]
        before = [p.clone() for p in engine.stack.layers[layer].parameters()]
        seen.append(
            (chosen_execution(), engine.stack.converted, mixtures, [key for key in engine.prefixes if key[0] == "train"])
        )
        epoch(engine, *optimiser)
        tandem = engine.stack.layers[layer]
        assert isinstance(tandem, TandemLayer)
        assert tandem.dynamics.window == 6
        assert any(not old.equal(new) for old, new in zip(before, tandem.parameters(), strict=True))

    monkeypatch.setattr(ProgressiveTandemLearning, "train_epoch", watched)
    times = measure_conversion(BenchmarkCase(f"{backend}{tiny}@6", 0.1, 1, layer=layer))
    assert 0 < times["kept"] < 60
    assert 0 < times["elapsed"] < 60
    anew = (chosen, layer, [BATCH], [])
    kept = (chosen, layer, [BATCH], [("train", 0)] if layer else [])
    assert seen == [anew] * ROUNDS + [kept] * ROUNDS


@pytest.mark.parametrize("system", ["small-snn", "bf16:small-ann", "small-ann"])
def test_what_is_not_converted_is_refused(system):
    with pytest.raises(UserError, match="conversion is timed of an analog network"):
        measure_conversion(BenchmarkCase(system, 0.1, 1, layer=11))
