import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from separator.audio.hearing import Hearing
from separator.audio.survey import Survey

RATE = 8000


def noise(samples=20_000, seed=0):
    return np.random.default_rng(seed).normal(size=samples) * 0.1


def heard(frames, sizes=()):
    """What a network would hear of sound, (T, channels), that comes in blocks of these sizes; that restored; the notes."""
    hearing = Hearing(frames.shape[1], RATE)
    mono = np.concatenate(list(hearing.blocks(np.split(frames, np.cumsum(sizes)))))
    return mono, hearing.restored(mono[None])[0], hearing.notes()


def test_ordinary_sound_is_not_touched():
    wave = noise()
    for frames in (wave[:, None], np.stack([wave, 0.3 * wave], 1), np.stack([wave, noise(seed=1)], 1)):
        mono, restored, notes = heard(frames)
        np.testing.assert_array_equal(mono, frames.mean(1).astype(np.float32))
        np.testing.assert_array_equal(restored, mono)
        assert notes == ["2 channels averaged to one"] * (frames.shape[1] == 2)


def test_channels_of_opposite_polarity_are_heard_as_files_hear_them():
    wave = np.r_[np.zeros(333), noise()]
    for frames in (np.stack([wave, -wave], 1), np.stack([-0.8 * wave, wave, wave, -1.2 * wave], 1)):
        mono, _, notes = heard(frames)
        survey = Survey(frames.shape[1], RATE)
        survey.add(frames)
        np.testing.assert_allclose(mono, frames @ survey.weights(), rtol=1e-6)
        assert notes == survey.notes() and "opposite polarity" in notes[0] and mono.any()


def test_channels_that_turn_against_each_other_are_noticed():
    wave = noise(240_000)
    frames = np.stack([wave, np.where(np.arange(240_000) < 8000, 1, -1) * wave], 1)
    mono, _, notes = heard(frames)
    np.testing.assert_allclose(mono[-8000:], wave[-8000:], rtol=1e-6)
    assert notes == ["2 channels of opposite polarity, which would cancel: channel 1 taken"]


@pytest.mark.parametrize("offset", [0.3, -0.05])
def test_an_offset_is_taken_out_and_told_once(offset):
    wave = noise()
    mono, _, notes = heard((wave * (np.arange(20_000) > 500) + offset)[:, None])  # a moment of nothing but the offset
    assert abs(mono[8000:].mean()) < 0.003 and abs(mono[:500]).max() < 1e-6
    np.testing.assert_allclose(mono[9000:], wave[9000:], atol=0.003)
    assert len(notes) == 1 and notes[0].startswith("a constant offset of ")
    assert float(notes[0].split()[4]) == pytest.approx(offset, abs=0.003)


@pytest.mark.parametrize("peak", [10 ** (-90 / 20), 1e-8])
def test_whispers_are_raised_and_given_back_as_quiet(peak):
    wave = noise()
    wave *= peak / np.abs(wave).max()
    mono, restored, notes = heard(wave[:, None])
    assert 2**-7 < np.abs(mono[RATE:]).max() <= 2**-6
    np.testing.assert_allclose(restored, wave, rtol=1e-6)
    assert len(notes) == 1 and notes[0].startswith("very quiet: raised by")


def test_speech_after_a_whisper_is_heard_as_it_is():
    wave = np.r_[noise(12_000) * 1e-5, noise(12_000)]
    mono, restored, notes = heard(wave[:, None])
    loud = 12_000 + int(np.flatnonzero(np.abs(wave[12_000:]) > 2**-10)[0])
    np.testing.assert_array_equal(mono[loud:], wave[loud:].astype(np.float32))
    np.testing.assert_allclose(restored, wave, rtol=1e-6)
    assert np.abs(mono).max() < 0.6 and notes == []


@given(st.lists(st.integers(0, 500), max_size=30))
def test_blocks_in_which_sound_comes_change_nothing(sizes):
    wave = np.r_[np.zeros(100), noise(8500) * 1e-5, noise(3000)]
    frames = np.stack([wave, -wave], 1) + 1e-7
    for whole, pieces in zip(heard(frames), heard(frames, sizes), strict=True):
        np.testing.assert_array_equal(whole, pieces)


@pytest.mark.parametrize("samples", [0, 1, 2, 159, 160, 161])
def test_no_sample_is_lost_of_the_shortest_sounds(samples):
    wave = noise(samples) + 0.01
    mono, restored, _ = heard(wave[:, None])
    assert len(mono) == samples
    if samples < 160:
        np.testing.assert_array_equal(restored, wave.astype(np.float32))


def test_silence_is_told():
    mono, _, notes = heard(np.zeros((1000, 1)))
    assert notes == ["silent"] and len(mono) == 1000


def test_clipping_is_told():
    assert "clipped" in heard((8 * noise()).clip(-1, 1)[:, None])[2][0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_all_before_a_sample_that_is_no_number_comes_out_first(bad):
    wave = noise(500)
    wave[333] = bad
    mono, _, _ = heard(np.stack([wave, wave], 1), [330])
    np.testing.assert_array_equal(mono[:333], wave[:333].astype(np.float32))
    assert np.isnan(mono[333])


def test_what_is_held_comes_out_where_the_sound_ends_with_an_error():
    def blocks():
        yield noise(100)[:, None]
        raise KeyboardInterrupt

    given = []
    with pytest.raises(KeyboardInterrupt):
        given.extend(Hearing(1, RATE).blocks(blocks()))
    np.testing.assert_array_equal(np.concatenate(given), noise(100).astype(np.float32))
