import math
from dataclasses import replace

import numpy as np
import pytest

from separator.errors import UserError
from separator.metrics.oracle import oracle_si_sdr
from separator.metrics.pesq import pesq
from separator.metrics.sisdr import si_sdr
from separator.tasks.evaluation.mixtures.scoring import ScoringJob, score
from tests.tasks.mixture_sets import RATE, make_set, read, write_signal

ALL = ("sdr", "stoi", "pesq")


@pytest.fixture
def mixture(tmp_path):
    return make_set(tmp_path, ["mf"])[0]


def test_estimates_are_assigned_and_measured(mixture):
    sources = np.stack([read(path) for path in mixture.sources])
    estimates = (0.5 * sources[::-1] + 0.05 * sources).astype(np.float32)
    results = score(ScoringJob("open", "x", mixture, estimates, ALL))
    assert [result.estimate for result in results] == [1, 0]
    assert [result.seconds for result in results] == [1.5, 1.5]
    for i, result in enumerate(results):
        own = estimates[1 - i]
        improvement = si_sdr(own, sources[i]) - si_sdr(sources.sum(0), sources[i])
        assert result.values["si-sdr"] == pytest.approx(si_sdr(own, sources[i]), abs=1e-3)
        assert result.values["si-sdri"] == pytest.approx(improvement, abs=1e-3)
        assert result.values["pesq"] == pytest.approx(pesq(own[None], sources[i][None], RATE)[0], abs=1e-3)
        assert result.values["sdr"] >= result.values["si-sdr"] - 0.01  # a filter is forgiven, of which a gain is one
        assert 0.5 < result.values["stoi"] <= 1


def test_the_unprocessed_mixture_improves_nothing(mixture):
    for result in score(ScoringJob("open", "mixture", mixture, None, ("stoi",))):
        assert result.values["si-sdri"] == pytest.approx(0, abs=1e-9)
        assert result.values["oracle-si-sdri"] == pytest.approx(0, abs=1e-9)
        assert set(result.values) == {"si-sdr", "si-sdri", "oracle-si-sdri", "stoi"}


def test_the_oracle_undoes_swaps_of_125_ms(mixture):
    sources = np.stack([read(path) for path in mixture.sources])
    swapped = sources + 1e-3 * np.random.default_rng(0).standard_normal(sources.shape)
    swapped[:, 3000:5000] = swapped[::-1, 3000:5000]
    results = score(ScoringJob("open", "x", mixture, swapped.astype(np.float32), ()))
    expected = oracle_si_sdr(swapped, sources, sources.sum(0), RATE // 8) - si_sdr(sources.sum(0), sources)
    assert [result.values["oracle-si-sdri"] for result in results] == pytest.approx(list(expected), abs=1e-3)
    assert all(result.values["oracle-si-sdri"] > result.values["si-sdri"] + 5 for result in results)


def test_files_are_read(mixture):
    results = score(ScoringJob("open", "oracle", mixture, mixture.sources[::-1], ()))
    assert [result.estimate for result in results] == [1, 0]
    assert all(result.values["si-sdr"] == math.inf for result in results)


def test_what_does_not_fit_is_refused(mixture, tmp_path):
    short = tmp_path / "short.wav"
    write_signal(short, np.zeros(RATE))
    with pytest.raises(UserError, match=r"short.wav has 8000 samples at 8000 Hz, its mixture .* 12000 at 8000 Hz"):
        score(ScoringJob("open", "x", mixture, (short, short), ()))
    with pytest.raises(UserError, match=r"x gives signals of shape \(3, 12000\)"):
        score(ScoringJob("open", "x", mixture, np.zeros((3, 12000), np.float32), ()))
    other_rate = tmp_path / "rate.wav"
    write_signal(other_rate, np.zeros(12000), 16000)
    with pytest.raises(UserError, match="12000 samples at 16000 Hz"):
        score(ScoringJob("open", "x", replace(mixture, sources=(mixture.sources[0], other_rate)), None, ()))


def test_pesq_at_another_rate_is_refused(tmp_path):
    mixture = make_set(tmp_path, ["mf"], rate=22050)[0]
    assert len(score(ScoringJob("open", "mixture", mixture, None, ("stoi",)))) == 2
    with pytest.raises(UserError, match="leave it out"):
        score(ScoringJob("open", "mixture", mixture, None, ("pesq",)))
