from dataclasses import asdict, replace

import numpy as np
import pytest
import soundfile

from separator.errors import UserError
from separator.tasks.separation.outputs import Claims, Origin, output_paths, refuse_others

ORIGIN = Origin("abc", "small", "def", 4, "mixture", "rescale", "16-bit integers")


def write(path, comment):
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        file.comment = comment
        file.write(np.zeros(10))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input": "x"}, r"\(another input\)"),
        ({"model": "large", "weights": "x"}, r"\(model was large and is small\)"),
        ({"weights": "x"}, r"\(other weights of the model\)"),
        ({"window": 8}, r"\(window was 8 and is 4\)"),
        ({"level": "model", "clip": "none"}, r"\(level was model and is mixture, clip was none and is rescale\)"),
        ({"shifts": 2}, r"\(shifts was 2 and is 1\)"),
        ({"samples": "32-bit floats"}, r"\(samples was 32-bit floats and is 16-bit integers\)"),
    ],
)
def test_files_of_another_origin_are_refused_with_the_remedy(tmp_path, change, reason):
    write(tmp_path / "a.wav", replace(ORIGIN, **change).to_comment())
    with pytest.raises(UserError, match=rf"a\.wav exists and was made otherwise {reason}; overwrite \(--ov"):
        refuse_others([tmp_path / "none.wav", tmp_path / "a.wav"], ORIGIN)


@pytest.mark.parametrize("comment", [" ", "holiday", "separator ", "separator []", "separator {", str(asdict(ORIGIN))])
def test_files_of_no_known_origin_are_refused(tmp_path, comment):
    write(tmp_path / "a.wav", comment)
    (tmp_path / "b.wav").write_text("no sound")
    for name in ("a.wav", "b.wav"):
        with pytest.raises(UserError, match=rf"{name} exists; overwrite \(--overwrite\) replaces it$"):
            refuse_others([tmp_path / name], ORIGIN)


def test_files_of_the_same_origin_are_not_refused(tmp_path):
    write(tmp_path / "a.wav", ORIGIN.to_comment())
    write(tmp_path / "b.wav", ORIGIN.to_comment().replace(', "shifts": 1', ""))  # as they were before there were any
    refuse_others([tmp_path / "a.wav", tmp_path / "b.wav"], ORIGIN)


def test_names_are_claimed_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    claims = Claims(["a.wav", "b.flac", "a.flac", "a_s1.flac", "a_s1_s1.wav"])
    claims.claim("a.wav", output_paths("a.wav", None, 2))
    with pytest.raises(UserError, match=r"a_s1\.wav, an output of .*a\.flac, is taken by a\.wav; separate one of the two by"):
        claims.claim("a.flac", output_paths(tmp_path / "a.flac", None, 2))
    with pytest.raises(UserError, match=r"a_s1_s1\.wav, an output of a_s1\.flac, is taken by a_s1_s1\.wav; use another -o"):
        claims.claim("a_s1.flac", output_paths("a_s1.flac", None, 2))
