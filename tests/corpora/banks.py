"""Banks of noise in place of speech, of speakers as one likes."""

from math import nan

import numpy as np

from separator.corpora.training.bank import SpeechBank, Voice


def make_bank(genders, pitches=None, name="bank", prefix="s", seed=0, utterances=2, longest=900):
    """One speaker for each letter of `genders`, with `utterances` utterances of 300 to `longest` samples each."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(300, longest, utterances * len(genders))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    waves = rng.integers(-32768, 32768, offsets[-1]).astype(np.int16)
    scales = rng.uniform(1e-5, 1e-4, len(lengths)).astype(np.float32)
    speakers = tuple(np.arange(utterances * i, utterances * (i + 1)) for i in range(len(genders)))
    pitches = [nan] * len(genders) if pitches is None else pitches
    voices = tuple(Voice(f"{prefix}{i}", *known) for i, known in enumerate(zip(genders, pitches, strict=True)))
    return SpeechBank(waves, offsets, scales, speakers, voices, name)
