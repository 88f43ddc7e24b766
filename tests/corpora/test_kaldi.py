import numpy as np
import pytest
import soundfile

from separator.corpora.kaldi import Corpus, Utterance, read_corpus, read_utterance, write_corpus
from separator.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A data folder with two speakers whose recordings lie beside it, in it, and elsewhere."""
    folder = tmp_path / "corpus" / "train"
    places = {"a1": "train/audio/a1.wav", "a2": "audio/a2.wav", "b1": str(tmp_path / "b1.wav")}
    for i, path in enumerate((folder / "audio/a1.wav", folder / "audio/a2.wav", tmp_path / "b1.wav"), 1):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(800 * i, 0.25), 8000)
    (folder / "wav.scp").write_text("".join(f"{name} {place}\n" for name, place in places.items()))
    (folder / "utt2spk").write_text("b1 b\na2 a\na1 a\n")
    return folder


def test_recordings_are_found_beside_the_folder_in_it_and_by_absolute_path(folder):
    corpus = read_corpus(folder)
    assert [utterance.path.name for utterance in corpus.utterances] == ["a1.wav", "a2.wav", "b1.wav"]
    assert all(utterance.path.is_file() and utterance.duration is None for utterance in corpus.utterances)
    assert {speaker: [u.id for u in group] for speaker, group in corpus.by_speaker.items()} == {"a": ["a1", "a2"], "b": ["b1"]}
    assert not corpus.gender


def test_optional_tables_are_read(folder):
    (folder / "utt2dur").write_text("a1 0.1\nb1 0.3\n")
    (folder / "spk2gender").write_text("a F\nb male\n")
    corpus = read_corpus(folder)
    assert corpus.gender == {"a": "f", "b": "m"}
    assert [utterance.duration for utterance in corpus.utterances] == [0.1, None, 0.3]


def test_what_is_written_is_read_back(folder, tmp_path):
    paths = [tmp_path / "corpus" / "new" / "x.wav", folder / "audio" / "a1.wav", tmp_path / "b1.wav"]
    paths[0].parent.mkdir()
    paths[0].write_bytes(paths[1].read_bytes())
    utterances = tuple(Utterance(f"u{i}", f"s{i}", path, 0.5 + i) for i, path in enumerate(paths))
    corpus = Corpus(tmp_path / "corpus" / "new", utterances, {"s0": "f", "s2": "m"})
    write_corpus(corpus)
    assert read_corpus(corpus.folder) == corpus
    assert (corpus.folder / "spk2utt").read_text() == "s0 u0\ns1 u1\ns2 u2\n"
    assert (corpus.folder / "wav.scp").read_text().splitlines()[0] == "u0 new/x.wav"


def test_an_utterance_is_read_at_its_rate_only(folder):
    utterance = read_corpus(folder).utterances[1]
    wave = read_utterance(utterance, 8000)
    assert wave.dtype == np.float32
    np.testing.assert_array_equal(wave, np.full(1600, 0.25, np.float32))
    with pytest.raises(UserError, match="has 8000 Hz, not 16000 Hz"):
        read_utterance(utterance, 16000)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("utt2spk", None, "utt2spk is missing"),
        ("wav.scp", None, "wav.scp is missing"),
        ("wav.scp", "a1 no.wav\na2 audio/a2.wav\nb1 neither.wav\n", "2 of 3 recordings are missing, the first is no.wav"),
        ("wav.scp", "a1 sox a1.wav - |\na2 audio/a2.wav\nb1 x\n", "a1 is a command"),
        ("utt2spk", "a1 a\na2 a\nb1 a\n", "fewer than two speakers"),
        ("utt2spk", "a1 a\na2\nb1 b\n", "line 2: expected a name and a value"),
        ("utt2spk", "a1 a\na1 b\nb1 b\n", "line 2: a1 comes twice"),
        ("utt2spk", "a1 a\nb1 b\n", "utt2spk lacks a2"),
        ("utt2spk", "a1 a\na2 a\nb1 b\nb2 b\n", "wav.scp lacks b2"),
        ("segments", "a1 a 0.0 1.5\n", "has segments, which are not read; cut the recordings"),
        ("utt2dur", "a1 long\n", "'long' of a1"),
        ("spk2gender", "a x\n", "'x' of a"),
    ],
)
def test_a_damaged_folder_is_refused_with_one_line(folder, name, text, message):
    (folder / name).unlink(missing_ok=True)
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_corpus(folder)
    assert "\n" not in str(caught.value)


def test_no_folder_and_no_text_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        read_corpus(tmp_path / "none")
    (folder / "utt2spk").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        read_corpus(folder)
