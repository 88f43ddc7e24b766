import numpy as np
import pytest
import soundfile
import torch

from separator.audio.active_level import active_speech_level
from separator.corpora.datasets import MixturesFromDisk, MixturesOnTheFly, load_bank
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


def test_mixtures_depend_on_seed_epoch_and_index_only(bank):
    first = MixturesOnTheFly(bank, 4, 8000, seed=1, epoch=2)
    again = MixturesOnTheFly(bank, 9, 8000, seed=1, epoch=2)
    assert all(torch.equal(first[i], again[i]) for i in range(4))
    for other in (MixturesOnTheFly(bank, 4, 8000, seed=1, epoch=3), MixturesOnTheFly(bank, 4, 8000, seed=2, epoch=2)):
        assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("n_src", [2, 3])
def test_talkers_differ_and_stand_0_to_5_db_apart(bank, n_src):
    ratios = []
    for sources in MixturesOnTheFly(bank, 60, 16000, n_src):
        assert sources.shape == (n_src, 16000)
        ratios.append(10 * torch.log10(sources[0].square().mean() / sources[1].square().mean()))
        assert torch.corrcoef(sources).fill_diagonal_(0).abs().max() < 0.9
    assert -1.5 < torch.stack(ratios).median() < 6.5  # levels of segments vary around the utterances'
    assert torch.stack(ratios).mean() == pytest.approx(2.5, abs=1.5)


def test_iteration_ends(bank):
    assert len(list(MixturesOnTheFly(bank, 3, 800))) == 3


def test_more_talkers_than_speakers(bank):
    with pytest.raises(UserError, match="as many speakers"):
        MixturesOnTheFly(bank, 1, 800, n_src=1000)


def test_mixtures_from_disk_are_cut_to_segments(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for length in (1000, 1700, 300):
        pair = []
        for s in (1, 2):
            path = tmp_path / f"{length}_{s}.wav"
            soundfile.write(path, rng.integers(-99, 99, length).astype(np.int16), 8000)
            pair.append(path)
        paths.append(tuple(pair))
    dataset = MixturesFromDisk(paths, 600, 8000)
    assert [start for _, start in dataset.segments] == [0, 600, 0, 600, 1200, 0]
    wave, _ = soundfile.read(paths[1][1], dtype="float32")
    assert torch.equal(dataset[4][1], torch.cat([torch.from_numpy(wave[1200:]), torch.zeros(100)]))
    assert dataset[5].shape == (2, 600)
    with pytest.raises(UserError, match="8000 Hz"):
        MixturesFromDisk(paths, 600, 16000)[0]
