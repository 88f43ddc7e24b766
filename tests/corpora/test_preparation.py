from functools import partial

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from separator import writer
from separator.corpora.kaldi import Utterance, read_corpus
from separator.corpora.preparation import prepare_corpus, read_librispeech, read_speechocean762, split, trim
from separator.errors import UserError
from separator.writer import sole_writer
from tests.disks import files_of_at_most


def speech(seed, seconds=2.0):
    """Noise with half a second of silence at both ends, and DC, at 16 kHz."""
    rng = np.random.default_rng(seed)
    return np.pad(0.1 * rng.standard_normal(int(16000 * seconds)), 8000) + 0.05


@pytest.fixture
def librispeech(tmp_path):
    """A tree as LibriSpeech unpacks: ten speakers with nine utterances, one of them too short."""
    root = tmp_path / "LibriSpeech"
    for speaker in range(10, 20):
        folder = root / "train-clean-100" / str(speaker) / "77"
        folder.mkdir(parents=True)
        for i in range(9):
            soundfile.write(folder / f"{speaker}-77-{i:04}.flac", speech(i, 2.0 if i else 0.5), 16000)
    rows = "".join(f"{speaker}   | {'FM'[speaker % 2]} | train-clean-100  | 25.0 | A Name\n" for speaker in range(10, 20))
    (root / "SPEAKERS.TXT").write_text(f";ID  |SEX| SUBSET           |MINUTES| NAME\n{rows}")
    return root


@pytest.fixture
def speechocean(tmp_path):
    """A tree as speechocean762 unpacks: two parts of two speakers with three utterances."""
    root = tmp_path / "speechocean762"
    for part, speakers in (("train", ("0001", "0002")), ("test", ("0003", "0004"))):
        rows = [(f"{speaker}{i:04}", speaker) for speaker in speakers for i in range(3)]
        for name, speaker in rows:
            path = root / "WAVE" / f"SPEAKER{speaker}" / f"{name}.WAV"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, speech(int(name)), 16000)
        (root / part).mkdir()
        (root / part / "wav.scp").write_text("".join(f"{n}\tWAVE/SPEAKER{s}/{n}.WAV\n" for n, s in rows))
        (root / part / "utt2spk").write_text("".join(f"{n}\t{s}\n" for n, s in rows))
        (root / part / "spk2gender").write_text("".join(f"{s}\tf\n" for s in speakers))
    return root


def test_both_downloads_are_read(librispeech, speechocean):
    adults = read_librispeech(librispeech)
    assert len(adults.utterances) == 90
    assert (adults.utterances[0].id, adults.utterances[0].speaker) == ("ls10-77-0000", "ls10")
    assert (adults.gender["ls10"], adults.gender["ls11"]) == ("f", "m")
    assert read_librispeech(librispeech.parent) == adults
    learners = read_speechocean762(speechocean)
    assert len(learners.utterances) == 12
    assert learners.gender == {f"so000{i}": "f" for i in (1, 2, 3, 4)}


def test_prepared_folders_hold_trimmed_speech_at_8_khz(librispeech, speechocean, tmp_path):
    downloads = [read_librispeech(librispeech), read_speechocean762(speechocean)]
    corpora = prepare_corpus(downloads, tmp_path / "out", 8000, limit=None, seed=0, workers=1)
    assert {name: read_corpus(tmp_path / "out" / name) for name in corpora} == corpora
    speakers = {name: set(corpus.by_speaker) for name, corpus in corpora.items()}
    assert len(speakers["test"]) == 2
    assert len(speakers["train"]) == 12
    assert speakers["dev"] < speakers["train"]
    assert not speakers["test"] & speakers["train"]
    assert sum(len(corpus.utterances) for corpus in corpora.values()) == 102 - 10  # without the short ones
    for corpus in corpora.values():
        assert set(corpus.gender) == set(corpus.by_speaker)
        for utterance in corpus.utterances:
            wave, rate = soundfile.read(utterance.path)
            assert rate == 8000
            assert utterance.path.suffix == ".flac"
            assert 2.1 <= len(wave) / rate <= 2.3  # the speech and 100 ms before and after it
            assert abs(wave.mean()) < 2e-3


def test_a_repeated_call_converts_nothing_again(librispeech, tmp_path):
    def prepare():
        return prepare_corpus([read_librispeech(librispeech)], tmp_path / "out", 8000, limit=8, seed=0, workers=1)

    corpora = prepare()
    paths = [utterance.path for corpus in corpora.values() for utterance in corpus.utterances]
    times = [path.stat().st_mtime_ns for path in paths]
    assert {name: corpus.utterances for name, corpus in prepare().items()} == {
        name: corpus.utterances for name, corpus in corpora.items()
    }
    assert [path.stat().st_mtime_ns for path in paths] == times
    with pytest.raises(UserError, match="has 8000 Hz, not 16000"):
        prepare_corpus([read_librispeech(librispeech)], tmp_path / "out", 16000, limit=8, seed=0, workers=1)


def test_a_full_disk_gets_one_line_and_leaves_nothing_half_written(librispeech, tmp_path):
    with files_of_at_most(9000), pytest.raises(UserError, match=r"cannot write .*\.flac: File too large"):
        prepare_corpus([read_librispeech(librispeech)], tmp_path / "out", 8000, limit=8, seed=0, workers=1)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize("left", [0, 30])
def test_a_recording_that_was_damaged_since_is_named(librispeech, tmp_path, left):
    def prepare():
        return prepare_corpus([read_librispeech(librispeech)], tmp_path / "out", 8000, limit=8, seed=0, workers=1)

    path = prepare()["test"].utterances[0].path
    whole = path.read_bytes()
    path.write_bytes(whole[:left])
    with pytest.raises(UserError, match=rf"{path} is damaged; remove it to have it made anew"):
        prepare()
    path.unlink()
    prepare()
    assert path.read_bytes() == whole


def test_a_corpus_has_one_writer_and_nothing_half_written(librispeech, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "PATIENCE", 0.1)
    halves = [tmp_path / "out" / place / ".0123abcd.flac" for place in ("train", "train/audio/ls10", "test/audio/ls10")]
    for half in halves:
        half.parent.mkdir(parents=True, exist_ok=True)
        half.touch()
    prepare = partial(prepare_corpus, [read_librispeech(librispeech)], tmp_path / "out", 8000, limit=8, seed=0, workers=1)
    with sole_writer(tmp_path / "out"), pytest.raises(UserError, match="another process writes into"):
        prepare()
    prepare()
    assert sum(half.exists() for half in halves) == 1  # where this call has nothing to write


@given(st.integers(4, 40), st.integers(8, 20), st.integers(0, 9), st.sampled_from([None, 8, 10]))
def test_the_division_into_sets(speakers, count, seed, limit):
    utterances = [Utterance(f"{s}-{i}", str(s), None) for s in range(speakers) for i in range(count)]
    sets = split(utterances, limit, seed)
    assert sets == split(reversed(utterances), limit, seed)
    ids = [utterance.id for chosen in sets.values() for utterance in chosen]
    kept = min(count, limit or count)
    assert len(ids) == len(set(ids)) == speakers * kept
    train, dev, test = ({utterance.speaker for utterance in sets[name]} for name in ("train", "dev", "test"))
    assert not test & (train | dev)
    assert dev == train
    assert len(sets["dev"]) == 2 * len(dev)
    assert len(test) == max(2, round(speakers / 8))


def test_too_few_speakers_are_refused():
    with pytest.raises(UserError, match="only 3 speakers"):
        split([Utterance(str(i), str(i), None) for i in range(3)], None, 0)


@pytest.mark.parametrize(("many", "limit"), [(0, None), (1, None), (9, 7)])
def test_too_few_utterances_for_a_dev_set_are_refused(many, limit):
    """Nine speakers, `many` of whom have eight utterances, the others seven; two of them are for testing."""
    utterances = [Utterance(f"{s}-{i}", str(s), None) for s in range(9) for i in range(8 if s < many else 7)]
    with pytest.raises(UserError, match="two speakers beside those for testing need 8 utterances each"):
        split(utterances, limit, 0)


def test_trimming_leaves_nothing_of_silence():
    assert trim(np.zeros(1000), 8000).size == 0


def test_trimming_keeps_speech_and_a_margin():
    wave = np.zeros(16000)
    wave[6000:9000] = np.random.default_rng(0).standard_normal(3000)
    trimmed = trim(wave, 8000)
    assert 3000 + 2 * 800 <= len(trimmed) <= 3000 + 2 * 800 + 2 * 160


@pytest.mark.parametrize("line", ["10", "10 | X | train-clean-100", "10 |"])
def test_a_speaker_without_a_gender_is_told(librispeech, line):
    table = librispeech / "SPEAKERS.TXT"
    table.write_text(f"{table.read_text()}{line}\n")
    with pytest.raises(UserError, match=r"SPEAKERS\.TXT is damaged: the line '10.*' has no gender, M or F"):
        read_librispeech(librispeech)


def test_downloads_that_are_none(tmp_path):
    with pytest.raises(UserError, match=r"SPEAKERS\.TXT is missing"):
        read_librispeech(tmp_path)
    (tmp_path / "SPEAKERS.TXT").write_text(";nobody\n")
    (tmp_path / "SPEAKERS.TXT").write_bytes(b"1 | M | \xff\n")
    with pytest.raises(UserError, match="it is not text"):
        read_librispeech(tmp_path)
    (tmp_path / "SPEAKERS.TXT").write_text(";nobody\n")
    with pytest.raises(UserError, match="no recordings"):
        read_librispeech(tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        read_speechocean762(tmp_path)
