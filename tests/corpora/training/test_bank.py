import shutil

import numpy as np
import pytest
import soundfile

import separator.corpora.training.bank as bank_module
from separator.audio.active_level import active_speech_level
from separator.audio.pitch import mean_pitch
from separator.corpora.kaldi import read_corpus, read_utterance
from separator.corpora.training.bank import load_bank
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


def test_changed_recordings_of_one_size_are_decoded_again(synthetic_corpus, tmp_path):
    folder = shutil.copytree(synthetic_corpus, tmp_path / "corpus") / "train"
    path = read_corpus(folder).utterances[0].path
    wave, rate = soundfile.read(path)
    soundfile.write(path, wave, rate, format="WAV")
    before = load_bank(folder, 8000, tmp_path / "cache")
    soundfile.write(path, -wave, rate, format="WAV")
    after = load_bank(folder, 8000, tmp_path / "cache")
    assert np.array_equal(after.offsets, before.offsets) and not np.array_equal(after.waves, before.waves)


def test_the_same_speech_elsewhere_and_of_another_time_is_not_decoded_again(synthetic_corpus, tmp_path, monkeypatch):
    before = load_bank(synthetic_corpus / "train", 8000, tmp_path / "cache", pitch=True)
    folder = shutil.copytree(synthetic_corpus, tmp_path / "corpus", copy_function=shutil.copyfile) / "train"
    monkeypatch.setattr(bank_module, "mean_pitch", None)
    monkeypatch.setattr(bank_module, "read_utterance", None)
    after = load_bank(folder, 8000, tmp_path / "cache", pitch=True)
    assert np.array_equal(after.waves, before.waves) and after.voices == before.voices


def test_wrong_rate_is_refused(synthetic_corpus):
    with pytest.raises(UserError, match="16000"):
        load_bank(synthetic_corpus / "train", 16000)


def test_a_silent_recording_is_named(synthetic_corpus, tmp_path):
    corpus = shutil.copytree(synthetic_corpus, tmp_path / "corpus") / "train"
    path = read_corpus(corpus).utterances[3].path
    soundfile.write(path, np.zeros(4000), 8000)
    with pytest.raises(UserError, match=f"^{path}: cannot measure the speech level"):
        load_bank(corpus, 8000)


def test_speech_of_a_speaker_is_joined_until_it_is_long_enough(bank):
    rng = np.random.default_rng(0)
    own = np.concatenate([bank.waves[bank.offsets[i] : bank.offsets[i + 1]] * bank.scales[i] for i in bank.speakers[0]])
    speech = bank.joined(bank.draw(0, 3 * len(own), rng))
    assert speech.shape == (3 * len(own),)
    assert set(np.unique(speech)) <= set(np.unique(own))


def test_voices_have_the_corpus_s_genders(bank, synthetic_corpus):
    known = dict(line.split() for line in (synthetic_corpus / "train" / "spk2gender").read_text().splitlines())
    assert {voice.name: voice.gender for voice in bank.voices} == known
    assert np.isnan([voice.pitch for voice in bank.voices]).all()
    corpus = read_corpus(synthetic_corpus / "train")
    for voice, group in zip(bank.voices, bank.speakers, strict=True):
        assert {corpus.utterances[i].speaker for i in group} == {voice.name}


def test_pitch_is_measured_once(synthetic_corpus, tmp_path, monkeypatch):
    first = load_bank(synthetic_corpus / "train", 8000, tmp_path, pitch=True)
    for voice in first.voices:
        waves = [read_utterance(u, 8000) for u in read_corpus(synthetic_corpus / "train").by_speaker[voice.name]]
        assert voice.pitch == pytest.approx(np.prod([mean_pitch(wave, 8000) for wave in waves]) ** (1 / len(waves)), rel=2e-3)
    monkeypatch.setattr(bank_module, "mean_pitch", None)
    monkeypatch.setattr(bank_module, "read_utterance", None)
    again = load_bank(synthetic_corpus / "train", 8000, tmp_path, pitch=True)
    assert again.voices == first.voices
    assert np.isnan(load_bank(synthetic_corpus / "train", 8000, tmp_path).voices[0].pitch)


def test_pitch_of_a_speaker_leaves_out_what_is_not_voiced(synthetic_corpus, monkeypatch):
    pitches = iter([np.nan, 100.0, 400.0, *[np.nan] * 9])
    monkeypatch.setattr(bank_module, "mean_pitch", lambda wave, rate: next(pitches))
    voices = load_bank(synthetic_corpus / "train", 8000, pitch=True).voices
    assert voices[0].pitch == pytest.approx(200)
    assert all(np.isnan(voice.pitch) for voice in voices[1:])


def test_a_damaged_cache_is_named(synthetic_corpus, tmp_path):
    load_bank(synthetic_corpus / "train", 8000, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=f"{path} is damaged, or no npz file; remove it"):
        load_bank(synthetic_corpus / "train", 8000, tmp_path)


def test_part_of_the_speakers(bank):
    name = bank.voices[2].name
    part = bank.among({name, "nobody"})
    assert [voice.name for voice in part.voices] == [name]
    assert part.length() == sum(bank.offsets[i + 1] - bank.offsets[i] for i in bank.speakers[2])
    rngs = [np.random.default_rng(0) for _ in range(2)]
    speech = [one.joined(one.draw(i, 5000, rng)) for one, i, rng in zip((part, bank), (0, 2), rngs, strict=True)]
    assert np.array_equal(*speech)
