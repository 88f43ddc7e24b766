import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from separator.audio.resample import LiveResampler, resample_blocks, resampled_length

RATES = [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000]


def joined(blocks):
    return np.concatenate(list(blocks), axis=1)


def sine(frequency, rate, seconds):
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate).astype(np.float32)[None]


@given(st.integers(1, 5000), st.sampled_from(RATES), st.sampled_from(RATES), st.integers(1, 3), st.integers(1, 2000))
def test_there_and_back_has_the_exact_length(length, rate, other, channels, block):
    wave = np.random.default_rng(length).standard_normal((channels, length)).astype(np.float32)
    pieces = [wave[:, start : start + block] for start in range(0, length, block)]
    there = list(resample_blocks(pieces, rate, other))
    assert sum(piece.shape[1] for piece in there) == resampled_length(length, rate, other)
    assert joined(resample_blocks(there, other, rate, length)).shape == (channels, length)


@pytest.mark.parametrize(
    ("frames", "source", "target", "expected"),
    [(1, 192000, 8000, 1), (441, 44100, 8000, 80), (442, 44100, 8000, 81), (9, 8, 8, 9)],
)
def test_length_is_rounded_up(frames, source, target, expected):
    assert resampled_length(frames, source, target) == expected


@pytest.mark.parametrize("rate", [11025, 44100, 192000])
def test_stream_is_what_soxr_gives_for_the_whole(rate):
    wave = np.random.default_rng(0).standard_normal((2, rate // 2)).astype(np.float32)
    pieces = [wave[:, start : start + 1000] for start in range(0, wave.shape[1], 1000)]
    streamed = joined(resample_blocks(pieces, rate, 8000))
    whole = soxr.resample(wave.T, rate, 8000, quality="HQ").T
    np.testing.assert_allclose(streamed[:, : whole.shape[1]], whole[:, : streamed.shape[1]], atol=1e-5)


@pytest.mark.parametrize(("source", "target"), [(44100, 8000), (8000, 44100), (16000, 8000), (8000, 192000)])
def test_a_tone_stays_where_it_is(source, target):
    resampled = joined(resample_blocks([sine(440, source, 1)], source, target))
    edge = target // 20
    np.testing.assert_allclose(resampled[:, edge:-edge], sine(440, target, 1)[:, edge:-edge], atol=1e-3)


def test_what_the_lower_rate_cannot_carry_is_removed():
    resampled = joined(resample_blocks([sine(5000, 16000, 1)], 16000, 8000))
    assert np.abs(resampled[:, 400:-400]).max() < 1e-4


def test_equal_rates_change_nothing():
    wave = np.random.default_rng(0).standard_normal((2, 500)).astype(np.float32)
    np.testing.assert_allclose(joined(resample_blocks([wave[:, :200], wave[:, 200:]], 8000, 8000)), wave, atol=1e-7)


def test_given_length_cuts_and_pads():
    wave = np.ones((1, 1000), np.float32)
    assert joined(resample_blocks([wave], 8000, 8000, 10)).shape == (1, 10)
    padded = joined(resample_blocks([wave], 8000, 8000, 3000))
    assert padded.shape == (1, 3000) and not padded[:, 2000:].any()


def test_an_empty_stream_stays_empty():
    assert list(resample_blocks([], 8000, 16000)) == []


def live(wave, source, target, sizes=()):
    """What a live resampler gives for a wave in blocks of these sizes; how late its samples came, in samples of the input."""
    resampler, pieces, late, given = LiveResampler(source, target), [], 0.0, 0
    for block in np.split(wave, np.cumsum(sizes), -1):
        pieces.append(resampler.push(block))
        given += pieces[-1].shape[-1]
        late = max(late, resampler.taken - given * source / target)
    pieces.append(resampler.finish(resampled_length(wave.shape[-1], source, target)))
    return np.concatenate(pieces, -1), late, resampler.look_ahead


RATES = [(8000, 16_000), (48_000, 8000), (44_100, 8000), (8000, 44_100), (11_025, 8000), (7, 5)]


@given(st.sampled_from(RATES), st.lists(st.integers(0, 700), max_size=8), st.integers(1, 3000))
def test_live_sound_does_not_depend_on_its_blocks(rates, sizes, length):
    wave = np.random.default_rng(length).normal(size=(2, length))
    whole, _, _ = live(wave, *rates)
    assert whole.shape == (2, resampled_length(length, *rates))
    part, late, look_ahead = live(wave, *rates, [size for size in sizes if size])
    assert np.array_equal(part, whole)
    assert late <= look_ahead + 1


@pytest.mark.parametrize("rates", RATES[:-1])
def test_live_sound_is_what_soxr_gives(rates):
    """Within the pass band of the shorter filter."""
    source, target = rates
    time = np.arange(source) / source
    wave = sum(np.sin(2 * np.pi * f * time + f) for f in (50, 1000, 3200))[None]
    found = live(wave, source, target)[0][0]
    expected = soxr.resample(wave[0], source, target)[: len(found)]
    inner = slice(target // 50, -target // 50)
    assert np.abs(found[: len(expected)] - expected)[inner].max() < 3e-3
    assert live(wave, source, target)[2] <= 0.004 * source  # 32 samples at the lower rate


def test_live_sound_loses_what_the_lower_rate_cannot_carry():
    wave = np.sin(2 * np.pi * 4800 * np.arange(48_000) / 48_000)[None]
    assert np.abs(live(wave, 48_000, 8000)[0][0, 200:-200]).max() < 1e-3
