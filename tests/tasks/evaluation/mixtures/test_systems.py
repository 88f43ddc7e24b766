import numpy as np
import pytest
import torch

from separator.errors import UserError
from separator.models import load_model
from separator.tasks.evaluation.mixtures.systems import EstimateFiles, ModelSystem, Unprocessed
from tests.tasks.mixture_sets import make_set, read, save_tiny_models, write_estimates, write_signal


@pytest.fixture
def mixtures(tmp_path):
    return make_set(tmp_path / "set")


@pytest.fixture
def paths(tmp_path):
    return save_tiny_models(tmp_path)


def test_models_get_whole_mixtures(mixtures, paths):
    system = ModelSystem("ann", load_model(paths[0]))
    estimates, rows = system.estimate("open", mixtures[0], count=True)
    with torch.no_grad():
        expected = system.model.network(torch.from_numpy(read(mixtures[0].mixture)).float()[None])[0]
    np.testing.assert_array_equal(estimates, expected)
    assert rows == []


def test_operations_are_counted_only_on_demand(mixtures, paths):
    system = ModelSystem("snn", load_model(paths[1]))
    estimates, rows = system.estimate("open", mixtures[0], count=True)
    again, none = system.estimate("open", mixtures[0], count=False)
    np.testing.assert_array_equal(estimates, again)
    assert none == []
    assert [row["position"] for row in rows] == list(range(6))
    assert [row["part"] for row in rows] == ["charge", "spikes", "readout", "float", "float", "float"]


def test_estimates_are_averaged_over_shifts(mixtures, paths):
    model = load_model(paths[1])
    system = ModelSystem("snn", model, shifts=2)
    estimates, rows = system.estimate("open", mixtures[0], count=True)
    expected = model.stream(shifts=2).push(torch.from_numpy(read(mixtures[0].mixture)).float()[None], last=True)[0]
    np.testing.assert_array_equal(estimates, expected)
    _, once = ModelSystem("snn", model).estimate("open", mixtures[0], count=True)
    for row, single in zip(rows, once, strict=True):
        assert row["macs"] >= 2 * single["macs"]


def test_a_model_of_another_rate_is_refused(tmp_path, paths):
    mixture = make_set(tmp_path / "wide", rate=16000)[0]
    with pytest.raises(UserError, match="16000 Hz, ann works at 8000 Hz"):
        ModelSystem("ann", load_model(paths[0])).estimate("open", mixture, count=False)


def test_fingerprints_tell_models_apart(mixtures, paths):
    prints = {ModelSystem("x", load_model(path)).fingerprint("open", mixtures[0]) for path in paths}
    prints.add(ModelSystem("x", load_model(paths[1], window=8)).fingerprint("open", mixtures[0]))
    prints.add(ModelSystem("x", load_model(paths[0]), shifts=2).fingerprint("open", mixtures[0]))
    assert len(prints) == 4
    assert ModelSystem("other name", load_model(paths[0])).fingerprint("closed", mixtures[1]) in prints


def test_estimate_files_are_found_in_either_layout_and_below_a_condition(mixtures, tmp_path):
    write_estimates(tmp_path / "flat", mixtures)
    write_estimates(tmp_path / "deep" / "open", mixtures)
    write_signal(tmp_path / "sets" / "s1" / "mix0.wav", np.zeros(9))
    write_signal(tmp_path / "sets" / "s2" / "mix0.wav", np.zeros(9))
    for folder, expected in [
        ("flat", ["flat/mix0_s1.wav", "flat/mix0_s2.wav"]),
        ("deep", ["deep/open/mix0_s1.wav", "deep/open/mix0_s2.wav"]),
        ("sets", ["sets/s1/mix0.wav", "sets/s2/mix0.wav"]),
    ]:
        files, rows = EstimateFiles("mine", tmp_path / folder).estimate("open", mixtures[0], count=True)
        assert files == tuple(tmp_path / path for path in expected)
        assert rows == []
    with pytest.raises(UserError, match="no estimates of mix1 by mine"):
        EstimateFiles("mine", tmp_path / "sets").estimate("open", mixtures[1], count=False)


def test_fingerprints_of_files_follow_their_content(mixtures, tmp_path):
    write_estimates(tmp_path / "flat", mixtures)
    system = EstimateFiles("mine", tmp_path / "flat")
    before = [system.fingerprint("open", mixture) for mixture in mixtures]
    write_signal(tmp_path / "flat" / "mix1_s2.wav", np.ones(5))
    after = [system.fingerprint("open", mixture) for mixture in mixtures]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_the_unprocessed_mixture_needs_no_estimates(mixtures):
    assert Unprocessed().estimate("open", mixtures[0], count=True) == (None, [])
