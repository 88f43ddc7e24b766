"""Synthetic speech of many voices, made by espeak-ng: for the demo, for tests, and as additional training data."""

import ctypes
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from separator.audio.files import write_flac
from separator.corpora.kaldi import Corpus, Utterance, write_corpus
from separator.corpora.mixing import resample_source
from separator.errors import UserError

SAMPLE_RATE = 22050  # Hz, of espeak-ng
LEVEL = 0.5  # peak of the recordings of a corpus, full scale 1

ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-gb-x-gbclan", "en-029")
VARIANTS = {"m": ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"), "f": ("f1", "f2", "f3", "f4", "f5")}
PITCHES = {"m": (15, 55), "f": (45, 90)}  # espeak-ng's scale, 0..99
RATES = (140, 200)  # words a minute

# Numbers of espeak-ng's interface, speak_lib.h.
SYNCHRONOUS, RATE, PITCH, UTF8 = 2, 1, 3, 1
SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

SUBJECTS = ("the old sailor", "my neighbour", "a young doctor", "the baker", "our teacher", "every child", "her brother")
VERBS = ("carried", "watched", "repaired", "painted", "followed", "measured", "described", "borrowed", "counted", "admired")
OBJECTS = ("the wooden boat", "seven yellow birds", "a broken clock", "the morning paper", "some fresh bread", "the bridge")
PLACES = ("near the harbour", "behind the station", "in the valley", "on a windy hill", "at the market", "under the moon")
TIMES = ("last summer", "before breakfast", "on Thursday", "without a sound", "for half an hour", "every evening")


@dataclass(frozen=True)
class Voice:
    """Sound of a synthetic speaker."""

    name: str  # of espeak-ng, as en-us+f3
    gender: str  # "m" or "f"
    pitch: int = 50  # 0..99
    rate: int = 165  # words a minute


@lru_cache
def _load_espeak() -> tuple[ctypes.CDLL, list[NDArray[np.int16]], Callable[..., int]]:
    """Initialise espeak-ng; returns the library, the list that takes its samples, and the callback, which must stay alive."""
    try:
        import espeakng_loader
    except ImportError:
        raise UserError("synthetic speech needs espeak-ng: pip install espeakng-loader") from None
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    if library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0) != SAMPLE_RATE:
        raise UserError("espeak-ng cannot be started; install espeakng-loader anew")
    blocks: list[NDArray[np.int16]] = []

    def collect(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if samples and count > 0:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = SynthCallback(collect)
    library.espeak_SetSynthCallback(callback)
    return library, blocks, callback


def speak(text: str, voice: str, pitch: int = 50, rate: int = 165) -> NDArray[np.float32]:
    """Say `text`; espeak-ng varies the voice a little, so that no two calls give the same samples.

    Args:
        text: English.
        voice: of espeak-ng, with a variant, such as `en-us+f3`.
        pitch: 0..99.
        rate: words a minute.

    Returns:
        The wave (T,) at 22,050 Hz, full scale 1.

    Raises:
        UserError: espeak-ng is not installed, or has no such voice.
    """
    library, blocks, _ = _load_espeak()
    if library.espeak_SetVoiceByName(voice.encode()):
        raise UserError(f"espeak-ng has no voice {voice}; try en-us+f3")
    library.espeak_SetParameter(PITCH, pitch, 0)
    library.espeak_SetParameter(RATE, rate, 0)
    blocks.clear()
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, UTF8, None, None)
    library.espeak_Synchronize()
    wave: NDArray[np.float32] = np.concatenate([np.zeros(0, np.int16), *blocks]).astype(np.float32) / np.float32(32768)
    return wave


def say(text: str, voice: Voice, sample_rate: int) -> NDArray[np.float32]:
    """Say `text` at `sample_rate`, with a peak of one half. Returns shape (T,)."""
    wave = resample_source(speak(text, voice.name, voice.pitch, voice.rate), SAMPLE_RATE, sample_rate)
    scaled: NDArray[np.float32] = (wave * (LEVEL / np.abs(wave).max())).astype(np.float32)
    return scaled


def draw_voices(count: int, seed: int) -> list[Voice]:
    """Draw voices, male and female in turn; the same on any machine."""
    draw = random.Random(seed).random
    voices = []
    for i in range(count):
        gender = "mf"[i % 2]
        accent, variant = (choices[int(draw() * len(choices))] for choices in (ACCENTS, VARIANTS[gender]))
        pitch, rate = (low + int(draw() * (high - low)) for low, high in (PITCHES[gender], RATES))
        voices.append(Voice(f"{accent}+{variant}", gender, pitch, rate))
    return voices


def draw_sentences(seed: int) -> Iterator[str]:
    """Draw simple sentences of about three seconds without end; the same on any machine."""
    draw = random.Random(seed).random
    while True:
        parts = [words[int(draw() * len(words))] for words in (SUBJECTS, VERBS, OBJECTS, PLACES, TIMES)]
        yield f"{' '.join(parts)}."


def _write_set(folder: Path, voices: dict[str, Voice], count: int, sample_rate: int, sentences: Iterator[str]) -> None:
    utterances = []
    for (speaker, voice), i in ((item, i) for item in voices.items() for i in range(count)):
        name = f"{speaker}-{folder.name}{i:03}"
        wave = say(next(sentences), voice, sample_rate)
        path = folder / "audio" / speaker / f"{name}.flac"
        write_flac(path, wave, sample_rate)
        utterances.append(Utterance(name, speaker, path, len(wave) / sample_rate))
    write_corpus(Corpus(folder, tuple(utterances), {speaker: voice.gender for speaker, voice in voices.items()}))


def make_corpus(
    folder: str | Path, sample_rate: int = 8000, speakers: int = 4, utterances: int = 3, test_speakers: int = 2, seed: int = 0
) -> None:
    """Write Kaldi data folders `folder`/train, dev (the same speakers) and test (others) of synthetic voices.

    Args:
        folder: gets the three sets.
        sample_rate: Hz.
        speakers: in train and dev, half of them male.
        utterances: of each speaker in each set.
        test_speakers: in test.
        seed: of voices and sentences.

    Raises:
        UserError: espeak-ng is missing, or a file cannot be written.
    """
    voices = {f"es{i:03}": voice for i, voice in enumerate(draw_voices(speakers + test_speakers, seed))}
    names = list(voices)
    sets = {"train": names[:speakers], "dev": names[:speakers], "test": names[speakers:]}
    sentences = draw_sentences(seed)
    for name, chosen in sets.items():
        _write_set(Path(folder) / name, {speaker: voices[speaker] for speaker in chosen}, utterances, sample_rate, sentences)
