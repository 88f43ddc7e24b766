import numpy as np
import pytest

from separator.audio.active_level import active_speech_level
from separator.corpora.bank import load_bank
from separator.corpora.kaldi import read_corpus, read_utterance
from separator.errors import UserError


@pytest.fixture(scope="module")
def bank(synthetic_corpus):
    return load_bank(synthetic_corpus / "train", 8000)


def test_bank_holds_every_utterance_at_unit_level(bank, synthetic_corpus):
    corpus = read_corpus(synthetic_corpus / "train")
    assert len(bank.offsets) == len(corpus.utterances) + 1
    for i, utterance in enumerate(corpus.utterances):
        wave = bank.waves[bank.offsets[i] : bank.offsets[i + 1]] * bank.scales[i]
        original = read_utterance(utterance, 8000)
        assert active_speech_level(wave, 8000) == pytest.approx(1.0, rel=1e-3)
        assert np.corrcoef(wave, original)[0, 1] > 0.9999
    spoken = [{corpus.utterances[i].speaker for i in group} for group in bank.speakers]
    assert all(len(group) == 1 for group in spoken)
    assert len(set.union(*spoken)) == len(bank.speakers)


def test_cached_bank_is_the_same(bank, synthetic_corpus, tmp_path):
    for _ in range(2):
        cached = load_bank(synthetic_corpus / "train", 8000, tmp_path)
        assert np.array_equal(cached.waves, bank.waves) and np.array_equal(cached.scales, bank.scales)
    assert len(list(tmp_path.iterdir())) == 1


def test_wrong_rate_is_refused(synthetic_corpus):
    with pytest.raises(UserError, match="16000"):
        load_bank(synthetic_corpus / "train", 16000)


def test_speech_of_a_speaker_is_joined_until_it_is_long_enough(bank):
    rng = np.random.default_rng(0)
    own = np.concatenate([bank.waves[bank.offsets[i] : bank.offsets[i + 1]] * bank.scales[i] for i in bank.speakers[0]])
    speech = bank.speech(0, 3 * len(own), rng)
    assert speech.shape == (3 * len(own),)
    assert set(np.unique(speech)) <= set(np.unique(own))
