"""Sound files of all kinds, cut off anywhere: read to their true end with one line on what is lost, or refused in one."""

import io
import re

import numpy as np
import pytest
import soundfile

from separator.audio.files import open_audio
from separator.errors import UserError

RATE, SAMPLES, CUTS = 8000, 30_000, 30
KINDS = [
    ("WAV", "PCM_16"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "IMA_ADPCM"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AIFF", "IMA_ADPCM"),
    ("AU", "PCM_16"),
    ("AU", "G721_32"),
    ("NIST", "PCM_16"),
    ("NIST", "ULAW"),
    ("VOC", "PCM_16"),
    ("VOC", "PCM_U8"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("SVX", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("MP3", None),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
]
LARGEST_BLOCK = {"FLAC": 8192, "OGG": 8000, "CAF": 9000}  # bytes in front of which nothing can be decoded


def encoded(kind, subtype):
    time = np.arange(SAMPLES) / RATE
    wave = 0.3 * np.sin(2 * np.pi * (200 * time + 100 * np.sin(time)))
    wave += 0.05 * np.random.default_rng(0).normal(size=SAMPLES)
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, subtype, format=kind)
    return file.getvalue()


def read(path):
    with open_audio(path) as reader:
        samples = np.concatenate([block[0] for block in reader.blocks()])
        return samples, reader.notes, reader.complete


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_all_that_is_there_is_read_and_the_loss_told(tmp_path, kind, subtype):
    path = tmp_path / f"a.{kind.lower()}"
    content = encoded(kind, subtype)
    path.write_bytes(content)
    whole, notes, _ = read(path)
    assert notes == [] and abs(len(whole) - SAMPLES) < 1200
    for cut in np.random.default_rng(1).integers(1, len(content) - 8, CUTS):
        path.write_bytes(content[:cut])
        place = f"{kind} {subtype} cut at {cut} of {len(content)}"
        try:
            samples, notes, complete = read(path)
        except UserError as error:
            assert cut < LARGEST_BLOCK.get(kind, 3000) and "\n" not in str(error), place
            continue
        assert len(notes) == 1, place
        assert len(samples) <= len(whole) + 1200 and (len(samples) < 400 or np.abs(samples[-200:]).max() > 1e-3), place
        _check_loss(notes[0], (len(whole) - len(samples)) / RATE, complete, kind == "OGG", place)


def _check_loss(note, true, complete, least, place):
    if (told := re.search(r"([\d.]+) s (of \S+ s are missing|are lost)", note)) is not None:
        assert float(told[1]) == pytest.approx(true, abs=0.09) and not complete, place
    elif (told := re.search(r"([\d.]+) s are missing at least", note)) is not None:
        assert 0 < float(told[1]) <= true + 0.01 and least and not complete, place
    else:  # cut between two pages, or within a head
        assert least and note == "it has no mark of its end, so that its end may be missing", place
