import io
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from separator.audio.files import SUFFIX, Spool, open_audio, read_comment, to_int16, write_wavs
from separator.errors import UserError

RATE = 8000


def noise(*shape):
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def read(source, block=1000):
    with open_audio(source) as reader:
        return np.concatenate(list(reader.blocks(block)), axis=1)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff", ".au", ".caf", ".w64", ".rf64", ".nist", ".ogg", ".mp3"])
def test_formats_are_read_whole(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(12_345) / RATE)
    soundfile.write(path, tone, RATE, format=suffix[1:].upper())
    with open_audio(path) as reader:
        wave = np.concatenate(list(reader.blocks()), axis=1)
        assert (reader.sample_rate, reader.frames, reader.frames_read) == (RATE, 12_345, 12_345)
    np.testing.assert_allclose(wave[0], tone, atol=0.1 if suffix in (".ogg", ".mp3") else 1e-4)
    assert SUFFIX.fullmatch(suffix)


@pytest.mark.parametrize("channels", [2, 8])
def test_channels_are_averaged_with_a_note(tmp_path, channels):
    samples = noise(500, channels)
    soundfile.write(tmp_path / "wide.wav", samples, RATE, "FLOAT")
    with open_audio(tmp_path / "wide.wav") as reader:
        wave = np.concatenate(list(reader.blocks(99)), axis=1)
        assert reader.notes == [f"{channels} channels averaged to one"]
    np.testing.assert_allclose(wave[0], samples.mean(1), atol=1e-7)


def write_text(path):
    path.write_text("this is text, whatever the name says\n" * 20)


def write_nothing(path):
    path.touch()


def write_no_samples(path):
    soundfile.write(path, np.zeros(0), RATE, format="WAV")


def write_nan(path):
    soundfile.write(path, np.r_[np.zeros(800), np.nan, np.zeros(9)], RATE, "FLOAT")


def write_infinite(path):
    soundfile.write(path, np.r_[np.zeros(800), np.inf, np.zeros(9)], RATE, "FLOAT")


def write_too_large(path):
    soundfile.write(path, np.r_[np.zeros(800), 1e300], RATE, "DOUBLE")


def write_header_only(path):
    soundfile.write(path, noise(100), RATE)
    path.write_bytes(path.read_bytes()[:30])


def make_folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (write_text, "not a sound file"),
        (write_nothing, "empty"),
        (write_no_samples, "no samples"),
        (write_nan, r"samples that are NaN or infinite, the first at sample 800 \(0.100 s\)"),
        (write_infinite, "NaN or infinite"),
        (write_too_large, "samples that are too large for 32 bits, the first at sample 800"),
        (write_header_only, "not a sound file .*ffmpeg"),
        (make_folder, "folder"),
        (lambda path: None, "No such file"),
    ],
)
def test_bad_files_get_one_line(tmp_path, make, reason):
    path = tmp_path / "bad.wav"
    make(path)
    with pytest.raises(UserError, match=reason) as error:
        read(path)
    assert "bad.wav" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [("bare.raw", b"\0" * 100), ("call.m4a", b"\0\0\0\x20ftypM4A " + bytes(500))],
)
def test_what_libsndfile_does_not_know_is_refused_with_the_remedy(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"not a sound file .*ffmpeg -i \S*{name} sound.wav"):
        read(tmp_path / name)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "w64", "rf64", "flac", "mp3"])
def test_cut_off_files_are_read_to_their_end_with_a_note(tmp_path, suffix):
    path = tmp_path / f"part.{suffix}"
    soundfile.write(path, noise(20_000), RATE, format=suffix.upper())
    whole, content = read(path), path.read_bytes()
    for kept in (0.4, 0.7, 0.95):
        path.write_bytes(content[: int(kept * len(content))])
        with open_audio(path) as reader:
            wave = np.concatenate(list(reader.blocks()), axis=1)
        lost = float(re.search(r"(\d+\.\d+) s (of \S+ s are missing|are lost)", reader.notes[0])[1])
        assert not reader.complete and lost == pytest.approx((20_000 - wave.shape[1]) / RATE, abs=0.02)
        assert wave.shape[1] > kept * 20_000 - 4096
        if suffix != "mp3":  # whose last frame says how the one before ends
            np.testing.assert_array_equal(wave, whole[:, : wave.shape[1]])
        with open_audio(path) as reader, pytest.raises(UserError, match=r"missing|lost"):
            reader.whole()


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF - 36])
def test_wav_written_to_a_pipe_is_read(tmp_path, size):
    path = tmp_path / "piped.wav"
    soundfile.write(path, noise(1000), RATE, "PCM_16")
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    assert read(path).shape == (1, 1000)


def test_stdin_is_read(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "in.flac", noise(3000), RATE)
    stdin = io.BytesIO((tmp_path / "in.flac").read_bytes())
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stdin))
    np.testing.assert_allclose(read("-")[0], noise(3000), atol=1e-4)
    with pytest.raises(UserError, match="cannot read stdin: nothing came"):
        read("-")


def test_named_pipe_is_read(tmp_path):
    soundfile.write(tmp_path / "in.wav", noise(30_000), RATE)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "in.wav").read_bytes()))
    writer.start()
    try:
        assert read(tmp_path / "pipe").shape == (1, 30_000)
    finally:
        writer.join()


def test_16_bit_samples_survive_reading_and_writing(tmp_path):
    every = np.arange(-32768, 32768, dtype=np.int16)
    soundfile.write(tmp_path / "in.wav", every, RATE)
    write_wavs([tmp_path / "out.wav"], [read(tmp_path / "in.wav", 1 << 16)], RATE, len(every))
    samples, rate = soundfile.read(tmp_path / "out.wav", dtype="int16")
    np.testing.assert_array_equal(samples, every)
    assert rate == RATE


def test_16_bit_rounds_to_nearest_and_stays_in_range():
    wave = np.array([0.6, -0.6, 40_000, -40_000, 0.4, 32768], np.float32) / 32768
    assert to_int16(wave).tolist() == [1, -1, 32767, -32768, 0, 32767]


def test_float_samples_are_kept_as_they_are(tmp_path):
    wave = 3 * noise(2, 700)
    write_wavs([tmp_path / "a.wav", tmp_path / "b.wav"], [wave[:, :300], wave[:, 300:]], RATE, 700, float32=True)
    for name, source in zip("ab", wave, strict=True):
        assert soundfile.info(tmp_path / f"{name}.wav").subtype == "FLOAT"
        np.testing.assert_array_equal(soundfile.read(tmp_path / f"{name}.wav", dtype="float32")[0], source)


def test_sources_can_be_channels_of_one_file(tmp_path):
    wave = noise(3, 400)
    write_wavs([tmp_path / "all.wav"], [wave], RATE, 400)
    np.testing.assert_allclose(soundfile.read(tmp_path / "all.wav")[0].T, wave, atol=1.6e-5)


def test_files_over_4_gib_become_rf64(tmp_path):
    write_wavs([tmp_path / "huge.wav"], [noise(1, 100)], RATE, 1 << 31)  # announced, not written
    assert soundfile.info(tmp_path / "huge.wav").format == "RF64"
    assert read(tmp_path / "huge.wav").shape == (1, 100)


def test_failure_leaves_no_file(tmp_path):
    def blocks():
        yield noise(2, 100)
        raise UserError("the source failed")

    with pytest.raises(UserError, match="the source failed"):
        write_wavs([tmp_path / "a.wav", tmp_path / "b.wav"], blocks(), RATE, 200)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_wavs([tmp_path / "file" / "a.wav"], [noise(1, 10)], RATE, 10)
    with pytest.raises(UserError, match="there is a file of that name"):
        Spool(tmp_path / "file")


@pytest.mark.parametrize("folder", ["a.wav", "b.wav"])
def test_a_folder_in_the_place_of_one_file_leaves_all_as_they_are(tmp_path, folder):
    (tmp_path / folder).mkdir()
    with pytest.raises(UserError, match=rf"cannot write .*{folder}: it is a folder"):
        write_wavs([tmp_path / "a.wav", tmp_path / "b.wav"], [noise(2, 10)], RATE, 10)
    assert [path.name for path in tmp_path.iterdir()] == [folder]


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from separator.audio.files import Spool, write_wavs
from separator.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # the system refuses to write more, as a full disk does
blocks = [np.zeros((2, 8000), np.float32)] * 40
folder = Path(sys.argv[1])
try:
    write_wavs([folder / "a.wav", folder / "b.wav"], blocks, 8000, 320_000)
except UserError as error:
    print(error)
try:
    with Spool(folder) as spool:
        for block in blocks:
            spool.append(block)
except UserError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (16_100, 16_100))  # which the samples fit in
try:
    write_wavs([folder / "c.wav"], [np.zeros((1, 8000), np.float32)], 8000, 8000, comment="long " * 100)
except UserError as error:
    print(error)
"""


def test_full_disk_gets_one_line_and_leaves_no_file(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and done.stderr == ""
    assert lines[0].startswith(f"cannot write {tmp_path}") and "full" in lines[0]
    assert lines[1].startswith(f"cannot write in {tmp_path}")
    assert lines[2] == f"cannot write {tmp_path / 'c.wav'}: is the disk full?"
    assert list(tmp_path.iterdir()) == []


def test_spool_returns_what_it_was_given_and_leaves_no_file(tmp_path):
    wave = noise(3, 1000)
    with Spool(tmp_path / "new") as spool:
        for part in np.split(wave, [10, 500], axis=1):
            spool.append(part)
        for _ in range(2):
            np.testing.assert_array_equal(np.concatenate(list(spool.blocks(77)), axis=1), wave)
    assert list(Path(tmp_path / "new").iterdir()) == []


def test_a_comment_lies_behind_the_samples(tmp_path):
    wave = np.linspace(-0.5, 0.5, 300, dtype=np.float32)
    write_wavs([tmp_path / "a.wav"], [wave[None]], 8000, 300, comment="made by hand")
    content = (tmp_path / "a.wav").read_bytes()
    assert content[36:40] == b"data" and np.frombuffer(content, "<i2", 300, 44).tolist() == np.rint(wave * 32768).tolist()
    assert read_comment(tmp_path / "a.wav") == "made by hand"
