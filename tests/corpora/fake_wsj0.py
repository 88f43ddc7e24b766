"""A tiny imitation of WSJ0 with synthetic voices, on which the whole WSJ0 recipe can be tried without the licensed data.

It has what makes the real one awkward: several discs in different layouts, upper and lower case, SPHERE files with and
without shorten compression, and a second microphone beside the first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from separator.atomic import atomic_path, write_text
from separator.audio.active_level import active_speech_level
from separator.audio.files import to_int16
from separator.corpora.lists import ListEntry, MixtureList, write_list
from separator.corpora.synthetic import Voice, draw_sentences, say
from separator.corpora.wsj0 import SAMPLE_RATE

# Speakers by set, as in the real one: tr and cv share speakers, tt has others from two sets.
SPEAKERS = {
    "si_tr_s": {"01t": Voice("en-us+m3", "m", 35), "20g": Voice("en+f2", "f", 65), "40a": Voice("en-us+f4", "f", 80, 180)},
    "si_dt_05": {"22g": Voice("en+m5", "m", 25, 150)},
    "si_et_05": {"440": Voice("en-us+m7", "m", 45), "441": Voice("en-gb-x-rp+f3", "f", 70)},
}
DISCS = {"si_tr_s": "11-4.1/wsj0", "si_dt_05": "CSR_1/11_6_1/WSJ0", "si_et_05": "wsj0"}
UTTERANCES = 3  # of each speaker
BLOCK = 256  # samples, of shorten


@dataclass(frozen=True)
class FakeWsj0:
    """Where the parts of an imitation lie."""

    root: Path  # the discs
    lists: Path  # mix_2_spk_{tr,cv,tt}.txt
    levels: Path  # active speech levels
    genders: Path  # speakers and genders


def _code_unsigned(values: NDArray[np.int64], low_bits: int) -> NDArray[np.uint8]:
    """Rice codes of `values` >= 0, one after another: of each the high part in unary, then the low bits."""
    high = values >> low_bits
    ends = np.cumsum(high + 1 + low_bits)
    bits = np.zeros(ends[-1], np.uint8)
    bits[ends - 1 - low_bits] = 1
    for place in range(low_bits):
        bits[ends - 1 - place] = values >> place & 1
    return bits


def _code(value: int, low_bits: int) -> NDArray[np.uint8]:
    return _code_unsigned(np.array([value]), low_bits)


def _code_long(value: int) -> NDArray[np.uint8]:
    """Code a number of any size: the count of its bits, then the bits."""
    return np.concatenate([_code(value.bit_length(), 2), _code(value, value.bit_length())])


def _shorten_bits(samples: NDArray[np.int16]) -> Iterator[NDArray[np.uint8]]:
    signed_16_bit_little_endian, channels, max_lpc, mean_blocks, skipped = 5, 1, 0, 0, 0
    for field in (signed_16_bit_little_endian, channels, BLOCK, max_lpc, mean_blocks, skipped):
        yield _code_long(field)
    first_difference, end, block_size = 1, 4, 5
    residuals = np.diff(samples.astype(np.int64), prepend=0)
    for start in range(0, len(residuals), BLOCK):
        block = residuals[start : start + BLOCK]
        if len(block) < BLOCK:
            yield from (_code(block_size, 2), _code_long(len(block)))
        low_bits = max(1, int(np.abs(block).mean()).bit_length())
        yield from (_code(first_difference, 2), _code(low_bits - 1, 3))
        yield _code_unsigned(np.where(block < 0, ~block << 1 | 1, block << 1), low_bits)
    yield _code(end, 2)


def encode_shorten(samples: NDArray[np.int16]) -> bytes:
    """Compress samples (T,), T >= 1, as shorten version 2 does with first differences (Robinson 1994, CUED TR.156)."""
    return b"ajkg\x02" + np.packbits(np.concatenate(list(_shorten_bits(samples)))).tobytes()


def write_sphere(path: Path, samples: NDArray[np.int16], sample_rate: int, compressed: bool) -> None:
    """Write samples (T,) as a NIST SPHERE file, 16 bits, little endian.

    Raises:
        UserError: the file cannot be written.
    """
    coding = "pcm,embedded-shorten-v2.00" if compressed else "pcm"
    fields = {"channel_count": 1, "sample_count": len(samples), "sample_rate": sample_rate, "sample_n_bytes": 2}
    lines = ["NIST_1A", "   1024", *(f"{name} -i {value}" for name, value in fields.items())]
    lines += ["sample_byte_format -s2 01", f"sample_coding -s{len(coding)} {coding}", "end_head\n"]
    data = encode_shorten(samples) if compressed else samples.astype("<i2").tobytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes("\n".join(lines).encode().ljust(1024) + data)


def _second_microphone(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """A duller, quieter copy of the wave (T,), as from a distant microphone."""
    return 0.2 * (wave + np.roll(wave, 5))


def _write_speaker(folder: Path, part: str, speaker: str, voice: Voice, sentences: Iterator[str]) -> dict[str, float]:
    """Write all utterances of a speaker, both microphones; returns the level of each utterance."""
    levels = {}
    for i in range(UTTERANCES):
        name = f"{speaker}o03{i:02}"
        wave = say(next(sentences), voice, SAMPLE_RATE)
        for suffix, recording in ((".wv1", wave), (".wv2", _second_microphone(wave))):
            place = f"{part}/{speaker}/{name}{suffix}"
            upper = DISCS[part].isupper()
            path = folder / DISCS[part] / (place.upper() if upper else place)
            write_sphere(path, to_int16(recording), SAMPLE_RATE, compressed=i % 2 == 0 and suffix == ".wv1")
        levels[name] = active_speech_level(to_int16(wave) / np.float32(32768), SAMPLE_RATE)
    return levels


def _make_list(speakers: Sequence[tuple[str, str]], utterances: Sequence[int]) -> MixtureList:
    """Mix each of `utterances` of each speaker, given as (set, speaker), with the same of the next speaker."""
    entries = []
    for number in utterances:
        for i, (first, second) in enumerate(zip(speakers, [*speakers[1:], speakers[0]], strict=True)):
            paths = tuple(f"wsj0/{part}/{speaker}/{speaker}o03{number:02}.wav" for part, speaker in (first, second))
            gain = round(0.31415 * (i + 1) + 0.27183 * number, 5)
            entries.append(ListEntry(paths, (gain, -gain)))
    return MixtureList(tuple(entries))


def make_fake_wsj0(folder: str | Path) -> FakeWsj0:
    """Write an imitation of WSJ0: six speakers with three sentences each, lists of tr (6), cv (3) and tt (9 mixtures).

    Raises:
        UserError: espeak-ng is missing, or a file cannot be written.
    """
    folder = Path(folder)
    fake = FakeWsj0(folder / "discs", folder / "lists", folder / "activlev", folder / "lists" / "wsj0-train-spkrinfo.txt")
    sentences = draw_sentences(0)
    for part, voices in SPEAKERS.items():
        levels = {
            name: level
            for speaker, voice in voices.items()
            for name, level in _write_speaker(fake.root, part, speaker, voice, sentences).items()
        }
        write_text(fake.levels / f"activlev_{part}.txt", "".join(f"{name} {level:.16e}\n" for name, level in levels.items()))
    training = [("si_tr_s", speaker) for speaker in SPEAKERS["si_tr_s"]]
    testing = [(part, speaker) for part in ("si_dt_05", "si_et_05") for speaker in SPEAKERS[part]]
    sets = {"tr": _make_list(training, (0, 1)), "cv": _make_list(training, (2,)), "tt": _make_list(testing, (0, 1, 2))}
    for name, mixtures in sets.items():
        write_list(mixtures, fake.lists / f"mix_2_spk_{name}.txt")
    lines = (f"{speaker} {voice.gender.upper()}\n" for voices in SPEAKERS.values() for speaker, voice in voices.items())
    write_text(fake.genders, "".join(lines))
    return fake
