import csv
import os

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from separator import writer
from separator.audio.active_level import active_speech_level
from separator.corpora.kaldi import read_corpus
from separator.corpora.lists import ListEntry, MixtureList, make_list
from separator.corpora.mixtures import Source, corpus_sources, read_mixtures, write_mixtures
from separator.errors import UserError
from separator.writer import sole_writer


@pytest.fixture
def sources(tmp_path):
    """Three recordings of noise at 16 kHz, of different lengths and levels; the last with a given level."""
    sources = {}
    for i, level in enumerate((None, None, 0.02), 1):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, np.random.default_rng(i).standard_normal(16000 + 1000 * i) * 0.05 * i, 16000, "PCM_16")
        sources[f"c/{i}.wav"] = Source(path, f"s{i}", "mf"[i % 2], level)
    return sources


PAIRS = MixtureList((ListEntry(("c/1.wav", "c/2.wav"), (1.5, -1.5)), ListEntry(("c/3.wav", "c/1.wav"), (0.25, -0.25))))


@pytest.mark.parametrize(("mode", "rate"), [("min", 8000), ("max", 8000), ("min", 16000), ("max", 16000)])
def test_files_follow_the_protocol_to_the_bit(tmp_path, sources, mode, rate):
    assert write_mixtures(PAIRS, sources, tmp_path / "set", mode, rate, workers=1) == 2
    for entry, mixture in zip(PAIRS.entries, read_mixtures(tmp_path / "set"), strict=True):
        scaled = []
        for name, gain in zip(entry.paths, entry.gains_db, strict=True):
            wave = soundfile.read(sources[name].path)[0]
            level = sources[name].level or active_speech_level(wave, 16000)
            wave = wave if rate == 16000 else resample_poly(wave, 1, 2)
            scaled.append(wave / np.sqrt(level) * 10 ** (gain / 20))
        longest = max(map(len, scaled))
        expected = np.stack([np.pad(wave, (0, longest - len(wave))) for wave in scaled])
        expected = expected if mode == "max" else expected[:, : min(map(len, scaled))]
        expected = np.vstack([expected.sum(0), expected])
        expected *= 0.9 / max(1, np.abs(expected).max())
        for wave, path in zip(expected, (mixture.mixture, *mixture.sources), strict=True):
            written, written_rate = soundfile.read(path, dtype="int16")
            assert written_rate == rate
            assert soundfile.info(path).subtype == "PCM_16"
            np.testing.assert_array_equal(written, np.round(wave * 32768).astype(np.int16))


def test_the_index_tells_speakers_and_genders(tmp_path, sources):
    write_mixtures(PAIRS, sources, tmp_path / "set", "min", 8000, workers=1)
    first, second = read_mixtures(tmp_path / "set")
    assert first.id == "1_1.5_2_-1.5"
    assert first.mixture == tmp_path / "set/mix/1_1.5_2_-1.5.wav"
    assert first.sources == (tmp_path / "set/s1/1_1.5_2_-1.5.wav", tmp_path / "set/s2/1_1.5_2_-1.5.wav")
    assert (first.speakers, first.genders) == (("s1", "s2"), ("f", "m"))
    assert (second.speakers, second.genders) == (("s3", "s1"), ("f", "f"))
    with (tmp_path / "set" / "mixtures.tsv").open() as file:
        assert [(row["gain_db_1"], row["gain_db_2"]) for row in csv.DictReader(file, delimiter="\t")] == [
            ("1.5", "-1.5"),
            ("0.25", "-0.25"),
        ]


def test_unknown_gender_and_three_sources(tmp_path, sources):
    sources["c/2.wav"] = Source(sources["c/2.wav"].path, "s2")
    trio = MixtureList((ListEntry(tuple(sources), (1.0, -1.0, 0.0)),))
    write_mixtures(trio, sources, tmp_path / "set", "min", 8000, workers=1)
    (mixture,) = read_mixtures(tmp_path / "set")
    assert mixture.genders is None
    assert mixture.speakers == ("s1", "s2", "s3")
    waves = [soundfile.read(path)[0] for path in (mixture.mixture, *mixture.sources)]
    np.testing.assert_allclose(waves[0], sum(waves[1:]), atol=2.1 / 32768)


def test_a_repeated_call_makes_what_is_missing(tmp_path, sources):
    folder = tmp_path / "set"
    write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1)
    first, second = read_mixtures(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.wav")}
    second.sources[1].unlink()
    first.mixture.write_bytes(b"kept")
    assert write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1) == 1
    assert first.mixture.read_bytes() == b"kept"
    assert second.sources[1].read_bytes() == before[second.sources[1]]


def test_an_unusable_recording_leaves_no_index_and_no_part_of_its_mixture(tmp_path, sources):
    sources["c/3.wav"].path.write_bytes(b"nothing")
    folder = tmp_path / "set"
    with pytest.raises(UserError, match=r"3\.wav"):
        write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1)
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["1_1.5_2_-1.5.wav"] * 3 + ["made.json"]


def test_a_set_is_made_in_one_way(tmp_path, sources):
    folder = tmp_path / "set"
    write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="mode was min and is max"):
        write_mixtures(PAIRS, sources, folder, "max", 8000, workers=1)
    with pytest.raises(UserError, match="rate was 8000 and is 4000"):
        write_mixtures(PAIRS, sources, folder, "min", 4000, workers=1)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (folder / "made.json").unlink()  # as earlier versions left it
    with pytest.raises(UserError, match="rate was 8000 and is 4000"):
        write_mixtures(PAIRS, sources, folder, "min", 4000, workers=1)
    assert write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1) == 0 and (folder / "made.json").exists()
    (folder / "made.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1)


def test_a_set_that_is_not_finished_is_not_taken_for_one(tmp_path, sources):
    write_mixtures(PAIRS, sources, tmp_path / "set", "min", 8000, workers=1)
    (tmp_path / "set" / "mixtures.tsv").unlink()  # which is written last
    with pytest.raises(UserError, match="set is not finished; run `separator mix` again"):
        read_mixtures(tmp_path / "set")
    assert write_mixtures(PAIRS, sources, tmp_path / "set", "min", 8000, workers=1) == 0
    assert len(read_mixtures(tmp_path / "set")) == len(PAIRS.entries)


def test_a_call_that_made_nothing_does_not_bind_the_next_one(tmp_path, sources):
    with pytest.raises(UserError, match="cannot make mixtures of 48000 Hz"):
        write_mixtures(PAIRS, sources, tmp_path / "set", "max", 48000, workers=1)
    assert write_mixtures(PAIRS, sources, tmp_path / "set", "min", 8000, workers=1) == len(PAIRS.entries)


def test_a_set_has_one_writer_and_nothing_half_written(tmp_path, sources, monkeypatch):
    monkeypatch.setattr(writer, "PATIENCE", 0.1)
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / ".0123abcd.wav").touch()  # of a process that was killed
    with sole_writer(tmp_path), pytest.raises(UserError, match="another process writes into"):
        write_mixtures(PAIRS, sources, tmp_path, "min", 8000, workers=1)
    write_mixtures(PAIRS, sources, tmp_path, "min", 8000, workers=1)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_silent_recordings_are_named(tmp_path, sources):
    soundfile.write(sources["c/1.wav"].path, np.zeros(100), 16000)
    with pytest.raises(UserError, match=r"1\.wav: cannot measure the speech level"):
        write_mixtures(PAIRS, sources, tmp_path / "set", "min", 8000, workers=1)


def test_recordings_that_the_corpus_lacks_are_counted(tmp_path, sources):
    del sources["c/2.wav"], sources["c/3.wav"]
    with pytest.raises(UserError, match=r"2 of 3 listed recordings are not in the corpus, the first is c/2\.wav"):
        write_mixtures(PAIRS, sources, tmp_path / "set", "min", 8000, workers=1)


def test_mixtures_of_recordings_that_have_changed_are_not_taken_for_made(tmp_path, sources):
    folder, recording = tmp_path / "set", sources["c/2.wav"].path
    write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1)
    before = recording.read_bytes(), recording.stat()
    wave, rate = soundfile.read(recording)
    soundfile.write(recording, -wave, rate)
    with pytest.raises(UserError, match=r"of 1 recordings that have changed since, the first is c/2\.wav; give another --out"):
        write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1)
    recording.write_bytes(before[0])
    os.utime(recording, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
    assert write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1) == 0
    (folder / "made.json").write_text('{"mode": "min", "rate": 8000}')  # as earlier versions left it
    os.utime(recording)
    assert write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1) == 0


def test_sets_of_other_programs_are_read_by_their_names(tmp_path, sources):
    write_mixtures(PAIRS, sources, tmp_path / "set", "min", 8000, workers=1)
    indexed = read_mixtures(tmp_path / "set")
    for own in ("mixtures.tsv", "made.json"):
        (tmp_path / "set" / own).unlink()
    scanned = read_mixtures(tmp_path / "set")
    assert {(m.id, m.mixture, m.sources) for m in scanned} == {(m.id, m.mixture, m.sources) for m in indexed}
    assert all(mixture.speakers is None and mixture.genders is None for mixture in scanned)


def test_damaged_sets_are_refused(tmp_path, sources):
    with pytest.raises(UserError, match="no folder mix/"):
        read_mixtures(tmp_path)
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        read_mixtures(tmp_path / "nowhere")
    (tmp_path / "empty" / "mix").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no mixtures"):
        read_mixtures(tmp_path / "empty")
    folder = tmp_path / "set"
    write_mixtures(PAIRS, sources, folder, "min", 8000, workers=1)
    next((folder / "s2").iterdir()).unlink()
    with pytest.raises(UserError, match="1 wav files are missing"):
        read_mixtures(folder)
    header, row, *_ = (folder / "mixtures.tsv").read_text().splitlines()
    for text in ("something else\n1\n", f"{header}\n{row}\tmore\n", f"{header}\n{row[:-3]}", ""):
        (folder / "mixtures.tsv").write_text(text)
        with pytest.raises(UserError, match="is damaged"):
            read_mixtures(folder)


def test_a_kaldi_folder_mixed_by_several_processes(tmp_path, synthetic_corpus):
    corpus = read_corpus(synthetic_corpus / "test")
    sources = corpus_sources(corpus)
    assert all((synthetic_corpus / name).samefile(source.path) for name, source in sources.items())
    mixtures = make_list({name: source.speaker for name, source in sources.items()}, 9, seed=1)
    assert write_mixtures(mixtures, sources, tmp_path / "two", "min", 8000, workers=2) == 9
    write_mixtures(mixtures, sources, tmp_path / "one", "min", 8000, workers=1)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 29
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    assert {frozenset(mixture.genders) for mixture in read_mixtures(tmp_path / "two")} == {frozenset("mf")}
