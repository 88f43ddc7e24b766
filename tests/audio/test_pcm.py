import io
import os
import struct
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from separator.audio.pcm import ByteSource, PcmFormat, PcmStream, PcmWriter, wav_header
from separator.errors import UserError

SUBTYPES = {"u8": "PCM_U8", "s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT", "f64le": "DOUBLE"}


def wav(samples=500, rate=8000, channels=1, subtype="PCM_16", seed=0, form="WAV"):
    """A wav file by libsndfile, and its samples as libsndfile reads them."""
    file = io.BytesIO()
    wave = np.random.default_rng(seed).uniform(-0.9, 0.9, (samples, channels))
    soundfile.write(file, wave, rate, subtype, format=form)
    data = file.getvalue()
    return data, soundfile.read(io.BytesIO(data), dtype="float64", always_2d=True)[0].mean(1).astype(np.float32)


@contextmanager
def source_of(data, pieces=(), timeout=None, close=True):
    """A pipe through which bytes come in pieces of these sizes."""
    reading, writing = os.pipe()

    def write():
        rest = memoryview(data)
        for size in pieces:
            os.write(writing, rest[:size])
            rest = rest[size:]
        while rest:
            rest = rest[os.write(writing, rest) :]
        if close:
            os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    yield ByteSource(reading, timeout)
    thread.join()
    os.close(reading)
    if not close:
        os.close(writing)


def read(data, pieces=()):
    with source_of(data, pieces) as source:
        return np.concatenate(list(PcmStream.open_wav(source).blocks()))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", SUBTYPES.values())
def test_wav_streams_are_read_as_libsndfile_reads_them(subtype, form, channels):
    data, expected = wav(channels=channels, subtype=subtype, form=form)
    assert np.array_equal(read(data), expected)


@given(st.lists(st.integers(1, 300), max_size=8), st.integers(1, 3))
def test_pieces_in_which_bytes_come_change_nothing(pieces, channels):
    data, expected = wav(channels=channels)
    assert np.array_equal(read(data, pieces), expected)


def test_samples_are_given_as_soon_as_they_are_there():
    data, expected = wav()
    with source_of(data[:144], close=False) as source:
        assert np.array_equal(next(PcmStream.open_wav(source).blocks()), expected[:50])


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_headers_without_a_size_are_streams_without_an_end(size):
    data, expected = wav()
    assert np.array_equal(read(data[:40] + struct.pack("<I", size) + data[44:]), expected)


def test_chunks_that_are_not_sound_are_passed_over():
    data, expected = wav(501, subtype="PCM_U8")
    odd = b"junk" + struct.pack("<I", 3) + b"abc\0"
    assert np.array_equal(read(data[:12] + odd + data[12:] + odd * 2), expected)


def test_samples_after_a_size_that_wrapped_are_taken():
    data, expected = wav(500)
    with source_of(data[:40] + struct.pack("<I", 100) + data[44:]) as source:
        stream = PcmStream.open_wav(source)
        assert np.array_equal(np.concatenate(list(stream.blocks())), expected)
    assert stream.notes == ["more sound came than its header states, and was taken"]


def test_wav_files_of_one_format_are_one_stream():
    (first, one), (second, two) = wav(seed=1), wav(300, seed=2)
    assert np.array_equal(read(first + second), np.concatenate([one, two]))


@pytest.mark.parametrize("other", [{"rate": 16_000}, {"channels": 2}, {"subtype": "FLOAT"}])
def test_a_change_of_format_is_refused_after_what_came_before(other):
    data, expected = wav()
    with source_of(data + wav(**other)[0]) as source:
        blocks = PcmStream.open_wav(source).blocks()
        assert np.array_equal(next(blocks), expected)
        with pytest.raises(UserError, match=r"changes from 8000 Hz, 1 channel, s16le to .* after 0\.062 s"):
            next(blocks)
        while source.some():
            pass


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "nothing came"),
        (b"RIFF", "not a wav stream"),
        (b"x" * 100, "not a wav stream"),
        (wav()[0][:30], "damaged header"),
        (wav()[0][:40], "ends in its header"),
        (wav()[0][:20] + b"\x07\x00" + wav()[0][22:], "codec 0x0007, 16 bits a sample, .* ffmpeg"),
        (wav()[0][:22] + b"\x00\x00" + wav()[0][24:], "damaged header"),
        (wav()[0][:-100], "cut off 100 bytes before"),
        (wav()[0][:40] + b"\xff" * 4 + wav()[0][44:-1], "in the middle of a sample, 1 of 2 bytes"),
        (b"RIFF\0\0\0\0WAVEfmt \x02\0\0\0ab" + b"data\0\0\0\0", "damaged header"),
    ],
)
def test_what_is_no_sound_is_refused(data, reason):
    with pytest.raises(UserError, match=reason):
        read(data)


def test_samples_without_a_header():
    wave = np.arange(-3, 4, dtype="<i2")
    layout = PcmFormat(8000, 1, "s16le")
    with source_of(wave.tobytes(), [1, 3, 4]) as source:
        assert np.array_equal(np.concatenate(list(PcmStream(source, layout).blocks())), wave / np.float32(32768))
    with source_of(wave.tobytes()[:-1]) as source, pytest.raises(UserError, match="middle of a sample"):
        list(PcmStream(source, layout).blocks())


def test_a_stream_that_stalls_is_given_up():
    with source_of(wav()[0][:100], timeout=0.05, close=False) as source:
        blocks = PcmStream.open_wav(source).blocks()
        assert len(next(blocks)) == 28
        with pytest.raises(UserError, match=r"nothing came from stdin for 0\.05 s"):
            next(blocks)


def test_an_interruption_waits_for_the_next_reading():
    with source_of(b"abcdef") as source:
        assert source.upto(3) == b"abc"
        source.interrupt()
        with pytest.raises(KeyboardInterrupt):
            source.some()


@pytest.mark.parametrize("encoding", ["s16le", "f32le"])
@pytest.mark.parametrize("together", [True, False])
def test_written_streams_are_wav_files(tmp_path, encoding, together):
    wave = np.random.default_rng(0).uniform(-1.2, 1.2, (2, 100)).astype(np.float32)
    paths = [tmp_path / name for name in ("ab" if not together else "a")]
    layout = PcmFormat(8000, 2 if together else 1, encoding)
    with PcmWriter([path.open("wb", buffering=0) for path in paths], layout, wav=True) as writer:
        for part in np.split(wave, [30, 30, 90], -1):
            writer.write(part)
    found = np.concatenate([soundfile.read(path, dtype="float32", always_2d=True)[0].T for path in paths])
    if encoding == "f32le":
        assert np.array_equal(found, wave) and writer.cut == 0
    else:
        assert np.abs(found - wave.clip(-1, 1)).max() <= 1 / 32768
        assert writer.cut == (np.abs(wave) > 1).sum() > 0
    assert all(path.stat().st_size == 44 + writer.written for path in paths)


def test_a_pipe_keeps_the_open_header(tmp_path):
    reading, writing = os.pipe()
    layout = PcmFormat(8000, 2, "s16le")
    with PcmWriter([os.fdopen(writing, "wb", buffering=0)], layout, wav=True) as writer:
        writer.write(np.zeros((2, 3), np.float32))
    assert os.read(reading, 1000) == wav_header(layout) + bytes(12)
    os.close(reading)


def test_a_full_disk_is_reported():
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 (the writer closes it)
    writer = PcmWriter([full], PcmFormat(8000, 1, "s16le"), wav=False)
    with writer, pytest.raises(UserError, match="cannot write /dev/full: No space left"):
        writer.write(np.zeros((1, 3), np.float32))
