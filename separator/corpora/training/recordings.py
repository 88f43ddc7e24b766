"""Recordings of corpora: what soundfile reads, and NIST SPHERE files with shorten compression."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from separator.audio.files import open_audio
from separator.errors import UserError

Recording = tuple[NDArray[np.float32], int]  # wave (T,), sample rate in Hz

SPHERE_MAGIC = b"NIST_1A"
HEADER_BYTES = 1024
# Programs that decode shorten, by name, with arguments before and after the path; they write a wav file to stdout.
PROGRAMS = {
    "sph2pipe": (("-p", "-f", "wav"), ()),
    "ffmpeg": (("-nostdin", "-v", "error", "-i"), ("-f", "wav", "-")),
}


def _is_compressed_sphere(path: Path) -> bool:
    """Tell whether `path` is a SPHERE file that libsndfile, which knows SPHERE but no compression, cannot read."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return header.startswith(SPHERE_MAGIC) and b"shorten" in header


def _decode_with_desphere(path: Path) -> bytes:
    import desphere

    try:
        return bytes(desphere.transcode_bytes(path.read_bytes()))
    except desphere.DesphereError as error:
        raise ValueError(f"desphere: {error}") from error


def _decode_with_program(program: str, path: Path) -> bytes:
    before, after = PROGRAMS[program]
    result = subprocess.run([program, *before, path, *after], capture_output=True, check=False)
    if result.returncode or not result.stdout:
        raise ValueError(f"{program}: {result.stderr.decode(errors='replace').strip() or 'no output'}")
    return result.stdout


def _decoders() -> Iterator[Callable[[Path], bytes]]:
    """Yield decoders of compressed SPHERE files to wav files, the best first."""
    yield _decode_with_desphere
    for program in PROGRAMS:
        if shutil.which(program):
            yield partial(_decode_with_program, program)


def _read_compressed_sphere(path: Path) -> Recording:
    failures = []
    for decode in _decoders():
        try:
            wave, rate = soundfile.read(BytesIO(decode(path)), dtype="float32", always_2d=True)
            return _require_mono(wave, path), rate
        except ImportError:
            failures.append("desphere is not installed (pip install 'desphere[fast]')")
        except (ValueError, soundfile.LibsndfileError) as error:
            failures.append(" ".join(str(error).split()))
    raise UserError(f"cannot decode the SPHERE file {path}: {'; '.join(failures)}")


def _require_mono(wave: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    if wave.shape[1] != 1:
        raise UserError(f"{path} has {wave.shape[1]} channels; recordings of a corpus must be mono")
    mono: NDArray[np.float32] = wave[:, 0]
    return mono


def read_recording(path: Path) -> Recording:
    """Read a mono recording at its own sample rate.

    Returns:
        The wave (T,), full scale 1, and its sample rate.

    Raises:
        UserError: the file is missing, damaged or cut off, has several channels, or cannot be decoded.
    """
    if _is_compressed_sphere(path):
        return _read_compressed_sphere(path)
    with open_audio(path) as reader:
        if reader.channels != 1:
            raise UserError(f"{path} has {reader.channels} channels; recordings of a corpus must be mono")
        return reader.whole(), reader.sample_rate
