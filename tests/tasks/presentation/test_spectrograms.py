import numpy as np
import pytest
from matplotlib.image import imread

from separator.errors import UserError
from separator.tasks.presentation.spectrograms import draw_spectrograms, power_spectrogram
from tests.metrics.signals import speechlike


def test_spectrogram_is_the_power_of_windowed_frames():
    signal = np.random.default_rng(1).standard_normal(4000)
    power = power_spectrogram(signal, 8000)
    window = np.sin(np.pi * np.arange(256) / 256) ** 2
    frames = [np.abs(np.fft.rfft(window * signal[start : start + 256])) ** 2 for start in range(0, 3000, 32)]
    first = np.argmin(np.abs(power - frames[0][:, None]).sum(0))  # frames before it reach over the beginning
    np.testing.assert_allclose(power[:, first : first + len(frames)].T, frames, atol=1e-9)


def test_a_signal_shorter_than_a_window_has_a_spectrogram():
    assert power_spectrogram(np.ones(3), 8000).shape[0] == 129


def test_picture_shows_every_signal(tmp_path):
    signals = np.stack([speechlike(1, 0.5), speechlike(2, 0.5)])
    silence = np.zeros_like(signals)
    for name, rows in {"two": {"reference": signals}, "three": {"reference": signals, "ann": silence}}.items():
        draw_spectrograms(tmp_path / f"{name}.png", signals.sum(0), rows, 8000, "title")
    two, three = (imread(tmp_path / f"{name}.png") for name in ("two", "three"))
    assert two.shape[1] == three.shape[1]
    assert two.shape[0] < three.shape[0]
    assert len(np.unique(two.reshape(-1, two.shape[2]), axis=0)) > 50  # colours of levels, not an empty frame


def test_silence_is_drawn_as_the_lowest_level(tmp_path, drawn):
    draw_spectrograms(tmp_path / "silence.png", np.zeros(800), {"reference": np.zeros((2, 800))}, 8000)
    images = [axes.images[0].get_array() for axes in drawn[0].axes if axes.images]
    assert [float(image.max()) for image in images] == [-70] * 3


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        draw_spectrograms(tmp_path / "file" / "x.png", np.zeros(800), {"reference": np.zeros((2, 800))}, 8000)
