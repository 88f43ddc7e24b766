import math

import pytest

from separator.errors import UserError
from separator.tasks.evaluation.mixtures import pitches
from separator.tasks.evaluation.mixtures.pitches import closest, measure_differences
from tests.metrics.signals import buzz
from tests.tasks.mixture_sets import make_set, write_signal


def octaves(folder):
    return make_set(folder, pitches=((100, 200), (100, 150), (400, 100)), seconds=0.5)


def test_differences_of_every_mixture(tmp_path):
    sets = {"open": octaves(tmp_path / "set"), "closed": make_set(tmp_path / "noise", ["mf"])}
    found = measure_differences(sets, tmp_path / "out" / "pitch.csv", 1)
    assert list(found) == [("open", "mix0"), ("open", "mix1"), ("open", "mix2"), ("closed", "mix0")]
    assert list(found.values())[:3] == pytest.approx([12, 12 * math.log2(1.5), 24], abs=0.05)
    assert math.isnan(found["closed", "mix0"])


def test_only_sources_that_have_changed_are_measured_again(tmp_path, monkeypatch):
    mixtures, table = octaves(tmp_path / "set"), tmp_path / "pitch.csv"
    first = measure_differences({"open": mixtures}, table, 1)
    heard = []
    monkeypatch.setattr(pitches, "mean_pitch", lambda wave, rate: heard.append(len(wave)) or 300.0)
    assert measure_differences({"open": mixtures}, table, 1) == first
    assert heard == []
    write_signal(mixtures[1].sources[0], buzz(80, seconds=0.25))
    again = measure_differences({"open": mixtures}, table, 1)
    assert heard == [2000]
    assert again == first | {("open", "mix1"): pytest.approx(12, abs=0.02)}


def test_processes_find_the_same(tmp_path):
    mixtures = make_set(tmp_path / "set", ["mf"] * 5, 0.2, pitches=[(100 + 10 * i, 250) for i in range(5)])
    assert len(mixtures) * 2 > pitches.FEW
    found = measure_differences({"open": mixtures}, tmp_path / "two.csv", 2)
    assert found == measure_differences({"open": mixtures}, tmp_path / "one.csv", 1)
    assert (tmp_path / "two.csv").read_text() == (tmp_path / "one.csv").read_text()


def test_read_only_mixtures_are_measured(tmp_path):
    mixtures = octaves(tmp_path / "set")
    folders = [tmp_path / "set", *(path.parent for path in mixtures[0].sources)]
    before = {folder: sorted(folder.iterdir()) for folder in folders}
    for folder in folders:
        folder.chmod(0o555)
    measure_differences({"open": mixtures}, tmp_path / "out" / "pitch.csv", 1)
    assert {folder: sorted(folder.iterdir()) for folder in folders} == before


def test_a_table_of_another_kind_is_refused(tmp_path):
    (tmp_path / "pitch.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="take another --out"):
        measure_differences({"open": octaves(tmp_path / "set")}, tmp_path / "pitch.csv", 1)


def test_the_closest_two_count():
    assert closest([100, 200]) == pytest.approx(12)
    assert closest([100, 400, 225]) == pytest.approx(12 * math.log2(400 / 225))
    assert math.isnan(closest([100, math.nan, 110]))
