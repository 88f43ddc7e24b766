import errno
import io
import re
import signal
import struct

import numpy as np
import pytest
import soundfile

from separator.audio.decoding import Decoder
from separator.errors import UserError

RATE = 8000


def noise(samples, seed=0, channels=1):
    return np.random.default_rng(seed).integers(-9999, 9999, (samples, channels), np.int16)


def encoded(wave, kind="WAV", subtype=None, rate=RATE, **options):
    file = io.BytesIO()
    soundfile.write(file, wave, rate, subtype, format=kind, **options)
    return file.getvalue()


def decoded(content):
    """All samples as 16-bit integers, and the notes on them."""
    decoder = Decoder("it", io.BytesIO(content))
    blocks = list(decoder.blocks())
    return np.concatenate(blocks) * 32768, decoder.notes


def with_sizes(content, form, data):
    place = content.index(b"data") + 4
    return content[:4] + struct.pack("<I", form) + content[8:place] + struct.pack("<I", data) + content[place + 4 :]


@pytest.mark.parametrize(
    ("data", "notes"),
    [
        (0, ["its header states 0.000 s; all 1.250 s that are there were read"]),
        (6000, ["its header states 0.375 s; all 1.250 s that are there were read"]),
        (6001, ["its header states 0.375 s; all 1.250 s that are there were read"]),
        (20_016, ["cut off or damaged: 0.001 s of 1.251 s are missing"]),
        (0x7FFFFFFF - 36, []),
        (0xFFFFFFFF, []),
    ],
)
@pytest.mark.parametrize("form", [0, 4088, 36 + 6000, 0xFFFFFFFF])
def test_wav_files_are_read_to_their_end_whatever_size_they_state(form, data, notes):
    wave = noise(10_000)
    samples, told = decoded(with_sizes(encoded(wave), form, data))
    np.testing.assert_array_equal(samples, wave)
    assert told == notes


def test_wav_files_that_a_crash_left_behind_a_filler_are_read():
    wave = noise(5000)
    content = encoded(wave)
    filler = b"FLLR" + struct.pack("<I", 4044) + bytes(4044)
    samples, notes = decoded(with_sizes(content[:36] + filler + content[36:], 4088, 0))
    np.testing.assert_array_equal(samples, wave)
    assert len(notes) == 1


def chunk(name, content, pad=True):
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2 * pad)


@pytest.mark.parametrize("after", [chunk(b"LIST", b"odd"), chunk(b"id3 ", b"abcd") * 2, b"TAG" + b"x" * 125, b"\0"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_follows_the_samples_is_not_sound(after, channels):
    wave = np.asfortranarray(noise(333, channels=channels))
    samples, notes = decoded(encoded(wave) + after)
    np.testing.assert_array_equal(samples, wave)
    assert notes == []


def test_chunks_may_follow_an_odd_number_of_bytes_at_once():
    wave = noise(333)
    content = encoded(wave, subtype="PCM_U8")[: 44 + 333]
    for padding in (b"", b"\0"):
        samples, notes = decoded(content + padding + chunk(b"LIST", b"text"))
        assert samples.shape == (333, 1) and notes == []


@pytest.mark.parametrize("name", [b"RF64", b"BW64"])
@pytest.mark.parametrize("size", [None, 0, 1 << 40, 6000])
def test_rf64_is_read_to_its_end(name, size):
    wave = noise(3000)
    content = bytearray(encoded(wave, "RF64"))
    place = content.index(b"data")
    content[:4], content[place + 4 : place + 8] = name, b"\xff" * 4
    if size is not None:
        place = content.index(b"ds64") + 16
        content[place : place + 8] = struct.pack("<Q", size)
    samples, notes = decoded(bytes(content))
    np.testing.assert_array_equal(samples, wave)
    assert len(notes) == (size == 1 << 40)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", None), ("WAV", "MS_ADPCM"), ("RF64", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)],
)
def test_sounds_one_behind_the_other_are_all_read(kind, subtype):
    parts = [encoded(noise(samples, seed), kind, subtype) for seed, samples in enumerate((8000, 3000, 12_345))]
    samples, notes = decoded(b"".join(parts))
    np.testing.assert_array_equal(samples, np.concatenate([decoded(part)[0] for part in parts]))
    assert notes == ["3 sounds one behind the other, read as one"]


@pytest.mark.parametrize("other", [{"rate": 16_000}, {"channels": 2}])
@pytest.mark.parametrize("kind", ["WAV", "OGG", "FLAC", "MP3"])
def test_sounds_of_another_layout_one_behind_the_other_are_refused(kind, other):
    first = encoded(noise(8000), kind)
    second = encoded(noise(8000, channels=other.get("channels", 1)), kind, rate=other.get("rate", RATE))
    with pytest.raises(UserError, match=r"it changes between 8000 Hz and 1 channels, then (16000 Hz|8000 Hz and 2)"):
        decoded(first + second)


def test_flac_written_to_a_pipe_is_read_to_its_end():
    wave = noise(20_000)
    content = bytearray(encoded(wave, "FLAC"))
    for stated, count in [(0, 0), (5000, 1)]:  # a header that does not know, and one that is wrong
        content[21:26] = bytes([content[21] & 0xF0]) + stated.to_bytes(4, "big")
        samples, notes = decoded(bytes(content))
        np.testing.assert_array_equal(samples, wave)
        assert len(notes) == count


def test_au_of_a_wrong_size_is_read_to_its_end():
    wave = noise(5000)
    content = encoded(wave, "AU")
    for size, count in [(0xFFFFFFFF, 0), (300, 1)]:
        samples, notes = decoded(content[:8] + size.to_bytes(4, "big") + content[12:])
        np.testing.assert_array_equal(samples, wave)
        assert len(notes) == count


def changing(rate, samples):
    """Silence, then noise: frames of many sizes at a variable bit rate."""
    wave = noise(samples)
    wave[: samples // 2] = 0
    return encoded(wave, "MP3", rate=rate, bitrate_mode="VARIABLE", compression_level=0.4), wave


@pytest.mark.parametrize(("rate", "frame"), [(8000, 576), (24_000, 576), (44_100, 1152)])
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x02\0" + bytes(256)])
def test_mp3_of_a_variable_rate_without_a_count_is_read_to_its_end(rate, frame, tag):
    content, wave = changing(rate, 100_000)
    whole, notes = decoded(content)
    assert whole.shape == wave.shape and notes == []
    first = content.index(b"\xff", 1 + content.index(b"Xing"))
    while content[first + 1] & 0xE0 != 0xE0 or content[first + 1] != content[content.index(b"\xff") + 1]:
        first = content.index(b"\xff", first + 1)
    samples, notes = decoded(tag + content[first:])
    # The header knew how much silence the encoder put around the sound; without it there may be some more.
    assert 0 <= len(samples) - len(wave) < 3 * frame and notes == []
    assert np.abs(samples[-30_000:]).max() > 1000


def test_mp3_that_states_too_few_frames_is_read_to_its_end():
    content, wave = changing(RATE, 50_000)
    place = content.index(b"Xing") + 8
    samples, _ = decoded(content[:place] + (20).to_bytes(4, "big") + content[place + 4 :])
    assert 0 <= len(samples) - len(wave) < 3 * 576


def test_mp3_in_a_wav_file_is_read():
    mp3 = encoded(noise(30_000), "MP3")
    layout = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 1000, 1, 0, 12, 1, 2, 72, 1, 0)
    body = b"WAVE" + chunk(b"fmt ", layout) + chunk(b"data", mp3)
    samples, notes = decoded(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert 30_000 <= len(samples) < 30_000 + 4 * 576 and notes == []


def test_codecs_that_are_not_known_are_named_with_the_remedy():
    content = encoded(noise(100))
    with pytest.raises(UserError, match=r"wav with codec 0x0161.*ffmpeg -i it sound\.wav"):
        decoded(content[:20] + b"\x61\x01" + content[22:])


@pytest.mark.parametrize("places", [(0.5,), (0.3, 0.6), (0.3, 0.35, 0.8)])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_behind_damage_is_read_where_frames_have_numbers(places, channels):
    samples = noise(200_000, channels=channels)
    content = bytearray(encoded(samples, "FLAC"))
    whole = np.concatenate(list(Decoder("it", io.BytesIO(bytes(content))).blocks()))
    for place in places:
        start = int(len(content) * place)
        content[start : start + 400] = bytes(400)
    decoder = Decoder("it", io.BytesIO(bytes(content)))
    for most in (4096, 1000, 4096):
        found = np.concatenate(list(decoder.blocks(most)))
        silent = ~found.any(1) & whole.any(1)
        assert found.shape == whole.shape and np.array_equal(found[~silent], whole[~silent])
        assert 0 < silent.sum() <= 5 * 4096 * len(places) and not silent[-20_000:].any() and not decoder.complete
        (note,) = decoder.notes
        after, instead = map(float, re.fullmatch(r"damaged after ([0-9.]+) s, ([0-9.]+) s are silence instead", note).groups())
        assert after == pytest.approx(silent.argmax() / RATE, abs=0.002)
        assert instead == pytest.approx(silent.sum() / RATE, abs=0.002)


def test_damage_up_to_the_end_is_lost():
    content = bytearray(encoded(noise(40_000), "FLAC"))
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    decoder = Decoder("it", io.BytesIO(bytes(content)))
    read = sum(map(len, decoder.blocks()))
    (note,) = decoder.notes
    assert 15_000 < read < 25_000 and not decoder.complete
    assert note == f"damaged after {read / RATE:.3f} s, {(40_000 - read) / RATE:.3f} s are lost"


@pytest.mark.parametrize(("kind", "reason"), [("OGG", "are missing"), ("MP3", "are missing")])
def test_damage_is_told_with_the_seconds_lost(kind, reason):
    content = bytearray(encoded(noise(40_000), kind))
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    decoder = Decoder("it", io.BytesIO(bytes(content)))
    read = sum(map(len, decoder.blocks()))
    assert 15_000 < read < 40_000 and not decoder.complete
    (note,) = decoder.notes
    lost = float(re.findall(r"[0-9.]+", note)[0])
    assert reason in note and lost == pytest.approx((40_000 - read) / RATE, abs=0.001)


def test_ogg_without_the_mark_of_its_end_is_noted():
    content = encoded(noise(40_000), "OGG")
    samples, notes = decoded(content[: content.rindex(b"OggS")])
    assert len(samples) > 10_000 and notes == ["it has no mark of its end, so that its end may be missing"]


def test_a_file_can_be_decoded_twice():
    decoder = Decoder("it", io.BytesIO(encoded(noise(5000), "FLAC")))
    first, second = (np.concatenate(list(decoder.blocks(999))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


class Failing(io.BytesIO):
    """Runs a function before bytes from `start` on are read, if that is set."""

    start = None

    def __init__(self, content, fail):
        super().__init__(content)
        self.fail = fail

    def read(self, size=-1):
        if self.start is not None and self.tell() + size > self.start:
            self.fail()
        return super().read(size)


def fail_with(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(143), SystemExit),
        (OSError(errno.EIO, "Input/output error"), UserError),
    ],
)
def test_what_reading_fails_with_is_raised(kind, error, raised):
    content = encoded(noise(90_000), kind)
    file = Failing(content, fail_with(error))
    decoder = Decoder("it", file)
    for start in (len(content) // 2, 0):  # while samples are read, and while it is opened
        file.start = start
        with pytest.raises(raised, match="cannot read it: Input/output error" if raised is UserError else None):
            list(decoder.blocks())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_wait_until_libsndfile_has_returned(number):
    reading, handled = [], []

    def fail():
        reading.append(True)
        signal.raise_signal(number)
        reading.pop()

    content = encoded(noise(90_000))
    file = Failing(content, fail)
    decoder = Decoder("it", file)
    file.start = len(content) // 2
    before = signal.signal(number, lambda *_: handled.append(bool(reading)))
    try:
        samples = sum(map(len, decoder.blocks()))
    finally:
        signal.signal(number, before)
    assert samples == 90_000 and handled and not any(handled)


def test_fingerprints_are_of_what_was_there_at_first():
    content = encoded(noise(90_000))
    file = io.BytesIO(content)
    decoder = Decoder("it", file)
    file.seek(0, io.SEEK_END)
    file.write(bytes(2_000_000))
    assert sum(map(len, decoder.blocks())) == 90_000
    whole = decoder.fingerprint()
    assert whole == Decoder("it", io.BytesIO(content)).fingerprint() != Decoder("it", file).fingerprint()
