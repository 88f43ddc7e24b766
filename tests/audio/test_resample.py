import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from separator.audio.resample import resample_blocks, resampled_length

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
