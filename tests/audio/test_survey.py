import numpy as np
import pytest
import soundfile

from separator.audio.files import open_audio
from separator.audio.survey import Condition, Survey
from separator.errors import UserError

RATE = 8000


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, shape)


def surveyed(wave, rate=RATE):
    survey = Survey(wave.shape[1], rate)
    for block in np.array_split(wave, min(7, len(wave))):
        survey.add(block)
    return survey


@pytest.mark.parametrize("louder", [1, 0.9])
def test_channels_of_opposite_polarity_do_not_cancel(tmp_path, louder):
    wave = noise(9000, 1) * [louder, -1]
    soundfile.write(tmp_path / "pair.wav", wave, RATE, "DOUBLE")
    with open_audio(tmp_path / "pair.wav") as reader:
        reader.survey()
        mono = np.concatenate(list(reader.blocks()), -1)[0]
        chosen = 1 if louder < 1 else 0
        assert reader.notes == [f"2 channels of opposite polarity, which would cancel: channel {chosen + 1} taken"]
    np.testing.assert_allclose(mono, wave[:, chosen], atol=1e-7)


@pytest.mark.parametrize("offset", [0.1, [0.5, -0.2], 1e3])
def test_channels_of_opposite_polarity_are_told_whatever_their_offset(offset):
    wave = noise(9000, 1) * [1, -1] + offset
    survey = surveyed(wave)
    np.testing.assert_array_equal(survey.weights(), [1, 0])
    assert survey.condition().offset == pytest.approx(wave[:, 0].mean())
    assert survey.notes() == ["2 channels of opposite polarity, which would cancel: channel 1 taken"]


def test_channels_of_nothing_but_an_offset_are_averaged():
    for offset in ([0.3, 0.3], [0.1, -0.7], [0.1, 0.0]):
        np.testing.assert_array_equal(surveyed(np.ones((9001, 1)) * offset).weights(), [0.5, 0.5])


@pytest.mark.parametrize("channels", [2, 8])
def test_channels_that_differ_are_averaged(channels):
    """Unrelated, the same, in part opposite, and silent ones."""
    waves = [noise(9000, channels), noise(9000, 1) * np.ones(channels), np.zeros((9000, channels))]
    waves.append(noise(9000, channels) - 0.5 * noise(9000, 1, seed=1) * (-1) ** np.arange(channels))
    waves.append(noise(9000, 1) * np.eye(channels)[0])
    for wave in waves:
        np.testing.assert_array_equal(surveyed(wave).weights(), np.full(channels, 1 / channels))
        assert surveyed(wave).notes()[0] == f"{channels} channels averaged to one"


@pytest.mark.parametrize(
    ("wave", "condition"),
    [
        (noise(9000), Condition()),
        (noise(9000) + 0.3, Condition(0.3)),
        (noise(9000) * 1e-3 + 0.3, Condition(0.3, 2.0**10)),
        (noise(9000) * 0.05, Condition()),
        (noise(9000) * 0.03, Condition(0, 2.0**5)),
        (noise(9000) * 1e-9, Condition(0, 2.0**30)),
        (noise(9000) * 20, Condition()),
        (noise(9000) * 100, Condition(0, 2.0**-7)),
        (noise(9000) * 2.0**31 + 2.0**30, Condition(2.0**30, 2.0**-31)),
        (np.zeros(9000), Condition()),
        (np.full(9000, 0.3), Condition(0.3)),
        (np.full(1, 0.3), Condition()),  # too short to tell
    ],
)
def test_offsets_and_quiet_or_loud_sound_are_put_right(wave, condition):
    found = surveyed(wave[:, None]).condition()
    assert found.scale == condition.scale
    assert found.offset == pytest.approx(condition.offset, rel=0.02) and (found.offset == 0) == (condition.offset == 0)
    heard = (wave - found.offset) * found.scale
    assert not wave.any() or len(wave) == 1 or np.abs(heard).max() < (0.71 if found.scale != 1 else 16)


@pytest.mark.parametrize("highest", [1, 32767 / 32768])
def test_sound_cut_at_full_scale_is_noted(highest):
    """Half of the samples are cut, at either side; an eighth repeats the one before."""
    (note,) = surveyed((5 * noise(90_000, 1)).clip(-1, highest)).notes()
    share = float(note.removeprefix("clipped: ").removesuffix("% of its samples lie flat at full scale"))
    assert share == pytest.approx(12.5, abs=0.3)


@pytest.mark.parametrize(
    ("wave", "notes"),
    [
        (np.zeros(9000), ["silent"]),
        (2.5 * noise(9000), []),
        (np.sin(np.arange(9000)), []),
        (noise(9000), []),
    ],
)
def test_what_is_found_is_noted(wave, notes):
    assert surveyed(wave[:, None]).notes() == notes


def test_flat_samples_are_counted_by_hand():
    wave = np.array([0.5, 0.5, 1, 1, 1, -1, -1, 0.2, 1, 1.0])
    survey = Survey(1, RATE)
    survey.add(wave[:, None])
    assert survey.notes() == ["clipped: 40.00% of its samples lie flat at full scale"]


def test_what_cannot_be_used_is_found_before_any_work(tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.r_[noise(9000), np.nan], RATE, "DOUBLE")
    with open_audio(tmp_path / "nan.wav") as reader, pytest.raises(UserError, match="the first at sample 9000"):
        reader.survey()
