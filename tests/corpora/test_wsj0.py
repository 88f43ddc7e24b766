import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from separator.corpora.lists import read_list
from separator.corpora.mixtures import read_mixtures, write_mixtures
from separator.corpora.training.recordings import read_recording
from separator.corpora.wsj0 import convert_wsj0, find_recordings, read_genders, read_levels, wsj0_sources
from separator.errors import UserError

UPPER = "CSR_1/11_6_1/WSJ0/SI_DT_05/22G/22GO0300"


def test_only_the_first_microphone_is_found_in_any_layout(fake_wsj0):
    recordings = find_recordings(fake_wsj0.root)
    assert len(recordings) == 18
    assert {path.suffix.lower() for path in recordings.values()} == {".wv1"}
    assert recordings["si_dt_05", "22g", "22go0300"] == fake_wsj0.root / f"{UPPER}.WV1"
    assert recordings["si_et_05", "440", "440o0302"] == fake_wsj0.root / "wsj0/si_et_05/440/440o0302.wv1"


def test_file_versions_of_the_discs_are_no_part_of_the_name(fake_wsj0, tmp_path):
    path = tmp_path / "SI_DT_05" / "22G" / "22GO0300.WV1;1"
    path.parent.mkdir(parents=True)
    shutil.copy(fake_wsj0.root / f"{UPPER}.WV1", path)
    assert find_recordings(tmp_path) == {("si_dt_05", "22g", "22go0300"): path}
    assert len(read_recording(path)[0]) > 16000


@pytest.fixture
def lists(fake_wsj0):
    return {name: read_list(fake_wsj0.lists / f"mix_2_spk_{name}.txt") for name in ("tr", "cv", "tt")}


def test_conversion_keeps_every_sample_of_the_first_microphone(fake_wsj0, lists, tmp_path):
    assert convert_wsj0(fake_wsj0.root, lists, tmp_path, workers=1) == 18
    assert convert_wsj0(fake_wsj0.root, lists, tmp_path, workers=1) == 0
    for key, path in find_recordings(fake_wsj0.root).items():
        converted, rate = soundfile.read(tmp_path / "wsj0" / Path(*key).with_suffix(".wav"), dtype="float32")
        first, _ = read_recording(path)
        second, _ = read_recording(path.with_suffix(".wv2" if path.suffix.islower() else ".WV2"))
        assert rate == 16000
        np.testing.assert_array_equal(converted, first)
        assert not np.array_equal(converted, second)


def test_the_converted_tree_gives_the_mixtures_of_the_discs(fake_wsj0, lists, tmp_path):
    convert_wsj0(fake_wsj0.root, lists, tmp_path, workers=1)
    options = {"mode": "min", "sample_rate": 8000, "workers": 1}
    sources = wsj0_sources(tmp_path / "wsj0", fake_wsj0.levels, fake_wsj0.genders)
    write_mixtures(lists["tt"], sources, tmp_path / "published", **options)
    write_mixtures(lists["tt"], wsj0_sources(fake_wsj0.root), tmp_path / "measured", **options)
    published, measured = (read_mixtures(tmp_path / name) for name in ("published", "measured"))
    assert [mixture.id for mixture in published] == [entry.id for entry in lists["tt"].entries]
    assert published[0].speakers == ("22g", "440")
    assert published[2].genders == ("f", "m")
    assert measured[0].genders is None
    for one, other in zip(published, measured, strict=True):  # the levels in the folder are those that are measured
        assert one.mixture.read_bytes() == other.mixture.read_bytes()


def test_levels_from_a_folder_win_over_measured_ones(fake_wsj0, tmp_path):
    (tmp_path / "activlev.txt").write_text("01to0300 0.125\n20go0300 2.5e-3\n")
    sources = wsj0_sources(fake_wsj0.root, tmp_path)
    assert sources["wsj0/si_tr_s/01t/01to0300.wav"].level == 0.125
    assert sources["wsj0/si_tr_s/01t/01to0301.wav"].level is None


def test_a_tree_without_the_first_microphone_is_refused(fake_wsj0, tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        find_recordings(tmp_path / "none")
    with pytest.raises(UserError, match=r"must hold the \.wv1 recordings .* found none"):
        find_recordings(tmp_path)
    path = tmp_path / "wsj0" / "si_dt_05" / "22g" / "22go0300.wv2"
    path.parent.mkdir(parents=True)
    shutil.copy(fake_wsj0.root / f"{UPPER}.WV2", path)
    with pytest.raises(UserError, match=r"only \.wv2, which is the second microphone"):
        find_recordings(tmp_path)


def test_missing_recordings_are_counted(fake_wsj0, lists, tmp_path):
    with pytest.raises(UserError, match=r"lacks 9 of 9 recordings of tt, the first is wsj0/si_dt_05/22g/22go0300\.wav"):
        convert_wsj0(fake_wsj0.root / "11-4.1", lists, tmp_path, workers=1)


def test_another_rate_is_not_wsj0(lists, fake_wsj0, tmp_path):
    root = tmp_path / "root"
    for entry in lists["cv"].entries:
        for name in entry.paths:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(root / name, np.zeros(80), 8000)
    with pytest.raises(UserError, match="has a sample rate of 8000 Hz; WSJ0 is recorded at 16000 Hz"):
        convert_wsj0(root, {"cv": lists["cv"]}, tmp_path / "out", workers=1)


@pytest.mark.parametrize("text", ["a b\n", "a -1\n", "a 0\n", "a inf\n", "a nan\n", "a\n", ""])
def test_damaged_levels_are_refused(tmp_path, text):
    (tmp_path / "levels.txt").write_text(text)
    with pytest.raises(UserError):
        read_levels(tmp_path)


def test_damaged_genders_are_refused(tmp_path):
    (tmp_path / "genders.txt").write_text("01t M\n02a X\n")
    with pytest.raises(UserError, match="'x' of 02a"):
        read_genders(tmp_path / "genders.txt")
    with pytest.raises(UserError, match="cannot read"):
        read_genders(tmp_path / "none.txt")
