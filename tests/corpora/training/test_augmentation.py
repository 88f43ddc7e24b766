import math

import numpy as np
import pytest
import torch
from scipy.signal import freqz
from torchaudio.functional import bass_biquad, treble_biquad

from separator.corpora.training.augmentation import (
    AugmentationSettings,
    at_snr,
    change_speed,
    draw_overlap,
    draw_pause,
    draw_shelf,
    equalise,
    happens,
    reverberate,
    shelf,
    silence,
    stretched_length,
)

RATE = 8000
FADE = 80


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def noise(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def silenced(sources, spans):
    """Sources with their spans of silence, in place."""
    for i, span in spans.items():
        silence(sources[i], *span, FADE)


def frequency(wave):
    """Of a sine, by its zero crossings."""
    rises = np.flatnonzero((wave[:-1] < 0) & (wave[1:] >= 0))
    return (len(rises) - 1) / (rises[-1] - rises[0]) * RATE


@pytest.mark.parametrize("speed", [0.88, 0.9731, 1.0, 1.12])
def test_speed_shifts_frequencies(speed):
    samples = 8000
    sine = np.sin(2 * math.pi * 300 * np.arange(stretched_length(samples, speed)) / RATE).astype(np.float32)
    played = change_speed(sine, speed, samples, RATE)
    assert played.shape == (samples,) and played.dtype == np.float32
    assert frequency(played) == pytest.approx(300 * speed, rel=1e-3)
    assert np.abs(played[200:-200]).max() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("samples", [100, 16001, 48000])
@pytest.mark.parametrize("speed", [0.881, 0.95, 1.0503, 1.119])
def test_speed_gives_as_many_samples_as_asked(samples, speed, rng):
    wave = noise(rng, stretched_length(samples, speed))
    assert len(change_speed(wave, speed, samples, RATE)) == samples


@pytest.mark.parametrize("gain", [-6.0, 3.0, 6.0])
@pytest.mark.parametrize("corner", [200.0, 1500.0])
def test_shelves_are_those_of_torchaudio(gain, corner, rng):
    impulse = np.zeros(400, np.float32)
    impulse[0] = 0.5
    for kind, reference in (("low", bass_biquad), ("high", treble_biquad)):
        expected = reference(torch.from_numpy(impulse), RATE, gain, corner, math.sqrt(0.5)).numpy()
        b, a = shelf(kind, gain, corner, RATE)
        ours = equalise(impulse, b, a)
        assert ours / np.linalg.norm(ours) == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
        _, ends = freqz(b, a, [0, math.pi])
        wanted = [gain, 0] if kind == "low" else [0, gain]
        assert 20 * np.log10(np.abs(ends)) == pytest.approx(wanted, abs=1e-6)


def test_drawn_shelves_are_stable_and_mild_and_keep_the_level(rng):
    wave = noise(rng, 8000) * np.float32(0.3)
    kinds = set()
    for _ in range(200):
        b, a = draw_shelf(6.0, RATE, rng)
        assert np.abs(np.roots(a)).max() < 1
        _, response = freqz(b, a, 64)
        gains = 20 * np.log10(np.abs(response))
        assert np.abs(gains).max() < 6.01
        kinds.add(bool(abs(gains[0]) > abs(gains[-1])))
        equal = equalise(wave, b, a)
        assert np.square(equal).mean() == pytest.approx(np.square(wave).mean(), rel=1e-4)
        assert equal.dtype == np.float32
    assert kinds == {False, True}
    assert not equalise(np.zeros(50, np.float32), b, a).any()


def test_pauses_are_exact_zeros_of_a_tenth_to_half_of_one_talker(rng):
    talkers, shares = [], []
    for _ in range(300):
        original = noise(rng, 2, 4000)
        sources = original.copy()
        silenced(sources, draw_pause(2, 4000, rng))
        silent = (sources == 0).sum(axis=1)
        quiet = int(silent.argmax())
        assert silent[1 - quiet] == 0 and np.array_equal(sources[1 - quiet], original[1 - quiet])
        zeros = np.flatnonzero(sources[quiet] == 0)
        assert zeros[-1] - zeros[0] + 1 == len(zeros)
        far = np.ones(4000, bool)
        far[max(0, zeros[0] - FADE) : zeros[-1] + 1 + FADE] = False
        assert np.array_equal(sources[quiet][far], original[quiet][far])
        assert (np.abs(sources[quiet]) <= np.abs(original[quiet])).all()
        talkers.append(quiet)
        shares.append(len(zeros) / 4000)
    assert 0.1 <= min(shares) + 1e-3 < 0.13 and 0.47 < max(shares) <= 0.5
    assert 100 < sum(talkers) < 200


def test_partial_overlap_has_one_talker_late_and_the_other_one_early_to_end(rng):
    late = []
    for _ in range(300):
        sources = noise(rng, 2, 4000)
        silenced(sources, draw_overlap(2, 4000, rng))
        first, last = ([int(f(np.flatnonzero(row))) for row in sources] for f in (np.min, np.max))
        late.append(int(np.argmax(first)))
        assert min(first) == 0 and 400 <= max(first) <= 1600
        assert max(last) == 3999 and 400 <= 3999 - min(last) <= 1600
        assert late[-1] == int(np.argmax(last))
    assert 100 < sum(late) < 200


def test_a_room_is_a_convolution_at_the_level_before(rng):
    wave, response = noise(rng, 3000), noise(rng, 400) * np.exp(-np.arange(400) / 80).astype(np.float32)
    wet = reverberate(wave, response)
    expected = np.convolve(wave.astype(float), response)[:3000]
    expected *= np.sqrt(np.square(wave, dtype=float).mean() / np.square(expected).mean())
    assert wet == pytest.approx(expected, abs=1e-4)
    assert wet.dtype == np.float32


@pytest.mark.parametrize("snr", [-3.0, 5.0, 25.0])
def test_noise_stands_as_far_below_speech_as_drawn(snr, rng):
    speech, background = noise(rng, 4000) * np.float32(0.2), noise(rng, 4000) * np.float32(7)
    below = at_snr(background, speech, snr)
    assert 10 * np.log10(np.square(speech).sum() / np.square(below).sum()) == pytest.approx(snr, abs=1e-3)
    assert np.corrcoef(below, background)[0, 1] == pytest.approx(1, abs=1e-6)
    assert not at_snr(np.zeros(9, np.float32), np.ones(9, np.float32), snr).any()


def test_what_never_happens_draws_nothing():
    rng, untouched = np.random.default_rng(3), np.random.default_rng(3)
    assert not happens(0.0, rng)
    assert rng.random() == untouched.random()
    assert np.mean([happens(0.3, rng) for _ in range(4000)]) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 1.5}, "augment.speed is a share between 0 and 1, not 1.5"),
        ({"noise": -0.1}, "augment.noise is a share"),
        ({"rooms": math.nan}, "augment.rooms is a share"),
        ({"pauses": 0.6, "overlap": 0.6}, "at most 1"),
        ({"speed_range": 1.0}, "less than 1"),
        ({"resonances": -0.1}, "augment.resonances is a share between 0 and 1, not -0.1"),
        ({"resonances_range": 1.0}, "augment.resonances_range must be at least 0 and less than 1, not 1"),
        ({"levels": -1.0}, "0 or more"),
        ({"snr": (20.0, 10.0)}, "least and most"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        AugmentationSettings(**options)
