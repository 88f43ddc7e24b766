import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from separator.corpora.training.recordings import read_recording
from separator.errors import UserError
from tests.corpora.fake_wsj0 import encode_shorten, write_sphere


def ramp(count):
    return np.clip(np.cumsum(np.random.default_rng(0).integers(-90, 90, count)), -32768, 32767).astype(np.int16)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("count", [1, 255, 256, 700])
def test_sphere_files_with_and_without_shorten(tmp_path, compressed, count):
    samples = ramp(count)
    write_sphere(tmp_path / "a.wv1", samples, 16000, compressed)
    wave, rate = read_recording(tmp_path / "a.wv1")
    assert rate == 16000
    assert wave.dtype == np.float32
    np.testing.assert_array_equal(wave * 32768, samples)


@settings(max_examples=25)
@given(arrays(np.int16, st.integers(1, 600)))
def test_shorten_is_lossless(tmp_path_factory, samples):
    path = tmp_path_factory.getbasetemp() / "noise.wv1"
    write_sphere(path, samples, 16000, compressed=True)
    np.testing.assert_array_equal(read_recording(path)[0] * 32768, samples)


def test_shorten_makes_smooth_waves_smaller():
    assert len(encode_shorten(ramp(4000))) < 0.6 * 2 * 4000


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_common_files(tmp_path, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", ramp(500), 8000)
    wave, rate = read_recording(tmp_path / f"a.{suffix}")
    assert rate == 8000
    np.testing.assert_array_equal(wave * 32768, ramp(500))


@pytest.mark.parametrize("program", ["sph2pipe", "ffmpeg"])
def test_other_decoders_step_in_without_desphere(tmp_path, monkeypatch, program):
    soundfile.write(tmp_path / "decoded.wav", ramp(300), 16000)
    write_sphere(tmp_path / "a.wv1", ramp(300), 16000, compressed=True)
    script = tmp_path / "bin" / program
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/arguments\ncat {tmp_path}/decoded.wav\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    monkeypatch.setitem(sys.modules, "desphere", None)  # importing it fails
    np.testing.assert_array_equal(read_recording(tmp_path / "a.wv1")[0] * 32768, ramp(300))
    assert str(tmp_path / "a.wv1") in (tmp_path / "arguments").read_text().split()


def test_no_decoder_is_one_clear_line(tmp_path, monkeypatch):
    write_sphere(tmp_path / "a.wv1", ramp(300), 16000, compressed=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "desphere", None)
    with pytest.raises(UserError, match=r"cannot decode .*a\.wv1: desphere is not installed"):
        read_recording(tmp_path / "a.wv1")


def test_damaged_and_missing_recordings(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "a.wv1"
    write_sphere(path, ramp(3000), 16000, compressed=True)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(UserError, match="cannot decode"):
        read_recording(path)
    with pytest.raises(UserError, match="No such file"):
        read_recording(tmp_path / "none.wv1")
    (tmp_path / "text.wav").write_text("not sound")
    with pytest.raises(UserError, match="cannot read"):
        read_recording(tmp_path / "text.wav")
    soundfile.write(tmp_path / "stereo.wav", np.zeros((10, 2)), 8000)
    with pytest.raises(UserError, match="2 channels"):
        read_recording(tmp_path / "stereo.wav")
