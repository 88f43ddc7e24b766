from collections import Counter

import numpy as np
import pytest

from separator.corpora.training import on_the_fly, plans
from separator.models.tasnet import TasNetConfig
from separator.tasks.benchmark.training.mixtures import noise_mixtures

VARIED = {
    "change_speed": on_the_fly,
    "equalise": on_the_fly,
    "draw_pause": plans,
    "draw_overlap": plans,
    "reverberate": on_the_fly,
    "at_snr": on_the_fly,
}


@pytest.fixture
def calls(monkeypatch):
    """How often mixtures are varied by what."""
    counted = Counter()

    def counting(name, varied):

        def wrapped(*arguments):
            counted[name] += 1
            return varied(*arguments)

        return wrapped

    for name, module in VARIED.items():
        monkeypatch.setattr(module, name, counting(name, getattr(module, name)))
    return counted


@pytest.mark.parametrize("n_src", [2, 3])
def test_all_that_there_is_happens_in_every_varied_mixture(n_src, calls):
    mixtures = noise_mixtures(TasNetConfig(n_src=n_src), 0.5, 5, varied=True)
    assert [mixtures[i].shape for i in range(len(mixtures))] == [(n_src + 1, 4000)] * 5
    assert calls["draw_pause"] + calls["draw_overlap"] == calls["at_snr"] == 5
    assert calls["change_speed"] == calls["equalise"] == calls["reverberate"] == 5 * n_src


def test_plain_mixtures_are_of_noise_at_the_level_of_speech(calls):
    mixtures = noise_mixtures(TasNetConfig(), 2.0, 4, varied=False)
    sources = np.stack([mixtures[i].numpy() for i in range(len(mixtures))])
    assert sources.shape == (4, 2, 16000)
    assert not calls
    levels = np.square(sources).mean(-1)  # 0.01, but for a gain and its inverse
    np.testing.assert_allclose(levels.prod(-1) ** 0.5, 0.01, rtol=0.02)
    assert abs(np.corrcoef(sources.reshape(8, -1)) - np.eye(8)).max() < 0.05  # all different


def test_rooms_fall_by_60_db():
    responses = noise_mixtures(TasNetConfig(), 0.5, 1, varied=True).variation.rooms.responses
    energy = np.square(responses).mean((0, 1))
    first, last = energy[:160].mean(), energy[-160:].mean()
    assert 10 * np.log10(first / last) == pytest.approx(57, abs=2)  # 20 of 400 ms at either end
