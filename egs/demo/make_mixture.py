"""Make the demo's mixtures of synthetic talkers, and their references, by the WSJ0-2mix protocol.

  python egs/demo/make_mixture.py [DIR]

Writes mix.wav (a man and a woman), alike.wav (two women, 1.5 semitones apart) and the references mix-1.wav ... alike-2.wav
(8 kHz, 16 bits) to DIR, by default the folder of this script. espeak-ng varies its voices a little, so that another run gives
other samples than those shipped.
"""

import sys
from pathlib import Path

import numpy as np

from separator.audio.active_level import active_speech_level
from separator.audio.files import write_wavs
from separator.corpora.mixing import mix, resample_source
from separator.corpora.synthetic import SAMPLE_RATE, Voice, speak

MAN, WOMAN = Voice("en-us+m3", "m", pitch=30, rate=170), Voice("en-us+f2", "f", pitch=70, rate=165)
US, SCOT = Voice("en-us+f4", "f", pitch=50, rate=165), Voice("en-gb-scotland+f1", "f", pitch=58, rate=165)
TALKERS = {
    "mix": {
        "My neighbour repaired the wooden boat near the old harbour last summer, and then he painted it green and white.": MAN,
        "On Thursday evening our teacher counted seven yellow birds, which were resting quietly under the bright moon.": WOMAN,
    },
    "alike": {
        "Before breakfast a young doctor followed the river to the mill, where her brother was selling bread and honey.": US,
        "The old sailor described a broken clock to every child at the market, until the evening bell began to ring.": SCOT,
    },
}
GAINS_DB = (0.5, -0.5)
RATE = 8000


def main(folder: Path) -> None:
    """Speak, mix and write."""
    for name, talkers in TALKERS.items():
        waves = [speak(text, voice.name, voice.pitch, voice.rate) for text, voice in talkers.items()]
        levels = [active_speech_level(wave, SAMPLE_RATE) for wave in waves]
        mixture, sources = mix([resample_source(wave, SAMPLE_RATE, RATE) for wave in waves], levels, GAINS_DB, "min")
        paths = [folder / f"{name}{ending}.wav" for ending in ("", "-1", "-2")]
        write_wavs(paths, [np.vstack([mixture, sources])], RATE, len(mixture))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
