from itertools import islice

import numpy as np
import pytest

from separator.corpora.kaldi import read_corpus, read_utterance
from separator.corpora.synthetic import draw_sentences, draw_voices, speak
from separator.errors import UserError


def fundamental(wave, rate=22050):
    """Median pitch (Hz) of the loudest 50 ms frames, by autocorrelation."""
    frames = wave[: len(wave) // 1102 * 1102].reshape(-1, 1102)
    loud = frames[np.argsort(np.square(frames).mean(axis=1))[-10:]]
    shifts = np.arange(rate // 400, rate // 60)
    return np.median([rate / shifts[np.argmax([frame[:-shift] @ frame[shift:] for shift in shifts])] for frame in loud])


def test_pitch_and_rate_are_heard():
    text = "the old sailor watched seven yellow birds"
    low, high, slow = (speak(text, "en-us+m3", *values) for values in ((10, 160), (90, 160), (10, 80)))
    assert fundamental(low) * 1.3 < fundamental(high)
    assert len(slow) > 1.5 * len(low)
    assert 0.05 < np.abs(low).max() <= 1


def test_unknown_voices_are_refused():
    with pytest.raises(UserError, match="has no voice nobody"):
        speak("hello", "nobody")


def test_voices_and_sentences_are_drawn_by_their_seed():
    assert draw_voices(8, 1) == draw_voices(8, 1) != draw_voices(8, 2)
    assert [voice.gender for voice in draw_voices(4, 0)] == ["m", "f", "m", "f"]
    assert len(set(islice(draw_sentences(0), 50))) > 45


def test_the_corpus_has_seen_and_unseen_speakers(synthetic_corpus):
    corpora = {name: read_corpus(synthetic_corpus / name) for name in ("train", "dev", "test")}
    assert set(corpora["train"].by_speaker) == set(corpora["dev"].by_speaker)
    assert not set(corpora["train"].by_speaker) & set(corpora["test"].by_speaker)
    assert all(sorted(corpus.gender.values()).count("f") * 2 == len(corpus.gender) for corpus in corpora.values())
    wave = read_utterance(corpora["test"].utterances[0], 8000)
    assert np.abs(wave).max() == pytest.approx(0.5, abs=1e-4)
    assert len(wave) / 8000 == pytest.approx(corpora["test"].utterances[0].duration, abs=1e-3)
