import math
import subprocess
import sys
import time

import librosa
import numpy as np
import pytest

from separator.audio.pitch import mean_pitch, semitones
from separator.corpora.synthetic import draw_sentences, draw_voices, say
from separator.errors import UserError
from tests.metrics.signals import buzz


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("frequency", [65, 100, 155, 240, 333, 480])
def test_a_known_pitch_is_found_at_any_level(frequency, rate):
    assert mean_pitch(buzz(frequency, rate), rate) == pytest.approx(frequency, rel=0.002)
    assert mean_pitch(1e-4 * buzz(frequency, rate).astype(np.float32), rate) == pytest.approx(frequency, rel=0.002)


def test_the_mean_is_geometric_and_over_voiced_frames_alone():
    low, high = buzz(100), buzz(200)
    assert mean_pitch(np.concatenate([low, high]), 8000) == pytest.approx(math.sqrt(100 * 200), rel=0.01)
    rng = np.random.default_rng(0)
    pauses = 0.001 * rng.standard_normal(16000)
    assert mean_pitch(np.concatenate([pauses, low, pauses]), 8000) == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize(
    "wave",
    [np.zeros(8000), np.full(8000, 0.3), 0.1 * np.random.default_rng(1).standard_normal(8000), np.zeros(0), np.ones(399)],
)
def test_what_is_not_voiced_has_no_pitch(wave):
    assert math.isnan(mean_pitch(wave, 8000))


def test_rates_too_low_for_any_pitch():
    assert math.isnan(mean_pitch(np.ones(400), 10)) and math.isnan(mean_pitch(buzz(100, 999, 1.0), 999))
    assert mean_pitch(buzz(100, 1000, 1.0), 1000) == pytest.approx(100, rel=0.01)


def test_the_shortest_wave_that_is_measured():
    assert mean_pitch(buzz(100, 8000, 0.05), 8000) == pytest.approx(100, rel=0.01)
    assert math.isnan(mean_pitch(buzz(100, 8000, 0.05)[:-1], 8000))


def test_agrees_with_pyin_on_synthetic_voices():
    sentences = draw_sentences(3)
    for voice in draw_voices(4, 3):
        wave = say(next(sentences), voice, 8000)
        frequencies, voiced, _ = librosa.pyin(wave, fmin=60, fmax=500, sr=8000, frame_length=512, hop_length=160)
        theirs = math.exp(np.log(frequencies[voiced]).mean())
        assert semitones(mean_pitch(wave, 8000), theirs) < 0.5


def test_is_quick():
    wave = np.concatenate([say(next(draw_sentences(4)), voice, 8000) for voice in draw_voices(4, 4)])
    mean_pitch(wave, 8000)
    before = time.process_time()
    mean_pitch(wave, 8000)
    assert time.process_time() - before < 0.05 * len(wave) / 8000  # 0.005 measured


def test_semitones():
    assert semitones(100, 200) == semitones(200, 100) == pytest.approx(12)
    assert semitones(440, 493.8833) == pytest.approx(2, abs=1e-5)
    assert semitones(150, 150) == 0
    assert math.isnan(semitones(math.nan, 100))


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "parselmouth", None)
    with pytest.raises(UserError, match=r"praat-parselmouth: pip install 'separator\[score\]'"):
        mean_pitch(buzz(100), 8000)


def test_importing_the_module_does_not_load_the_library():
    code = "import sys, separator.audio.pitch; sys.exit('parselmouth' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
