import hashlib
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from separator.corpora.lists import ListEntry, MixtureList, make_list, read_list, write_list
from separator.errors import UserError

OFFICIAL = (
    "wsj0/si_et_05/445/445c0206.wav 0.60431 wsj0/si_dt_05/22g/22gc0105.wav -0.60431 \n"
    "wsj0/si_dt_05/22g/22go0107.wav 0.079969 wsj0/si_dt_05/051/051c010u.wav -0.079969 \n"
    "wsj0/si_tr_s/01n/01no0304.wav 2 wsj0/si_tr_s/015/015c0207.wav -2 \n"
)
SPEAKER_OF = {f"test/{speaker}/{speaker}{i}.flac": speaker for speaker, count in zip("abcd", (1, 2, 9, 30), strict=True)
              for i in range(count)}  # fmt: skip


def test_official_lines_come_back_byte_for_byte(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(OFFICIAL)
    mixtures = read_list(path)
    assert mixtures.entries[1] == ListEntry(
        ("wsj0/si_dt_05/22g/22go0107.wav", "wsj0/si_dt_05/051/051c010u.wav"), (0.079969, -0.079969)
    )
    assert [entry.id for entry in mixtures.entries][2] == "01no0304_2_015c0207_-2"
    write_list(mixtures, tmp_path / "copy.txt")
    assert (tmp_path / "copy.txt").read_text() == OFFICIAL
    assert mixtures.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_three_sources_a_line(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("x/a.wav 1.2359 x/b.wav -1.2359 x/c.wav 0\n")
    (entry,) = read_list(path).entries
    assert entry.gains_db == (1.2359, -1.2359, 0)
    assert entry.id == "a_1.2359_b_-1.2359_c_0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("a.wav 1 b.wav\n", "line 1: expected two or more paths"),
        ("a.wav 1\n", "line 1: expected two or more paths"),
        ("a.wav 1 b.wav -1\n\na.wav one b.wav -1\n", "line 3: could not convert"),
        ("a.wav nan b.wav -1\n", "line 1: a gain is not a finite number"),
        ("a.wav 1 b.wav -1\na.wav 1 b.wav -1 c.wav 0\n", "different numbers of sources"),
        ("a.wav 1 b.wav -1\na.wav 1 b.wav -1\n", "1 of its mixtures come twice"),
    ],
)
def test_damaged_lists_are_refused_with_their_line(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_list(tmp_path / "list.txt")


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot read the mixture list"):
        read_list(tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\x00\xfe")
    with pytest.raises(UserError, match="not text"):
        read_list(tmp_path / "binary")


@given(st.integers(0, 100), st.integers(1, 200))
def test_drawn_mixtures_keep_the_protocol(seed, count):
    mixtures = make_list(SPEAKER_OF, count, seed)
    assert len({frozenset(entry.paths) for entry in mixtures.entries}) == count
    for entry in mixtures.entries:
        assert len({SPEAKER_OF[path] for path in entry.paths}) == 2
        assert entry.gains_db[0] == -entry.gains_db[1]
        assert 0 <= entry.gains_db[0] <= 2.5


def test_drawn_lists_survive_the_file(tmp_path):
    mixtures = make_list(SPEAKER_OF, 300, seed=3)
    write_list(mixtures, tmp_path / "list.txt")
    assert read_list(tmp_path / "list.txt") == mixtures


def test_the_draw_depends_on_the_seed_alone():
    backwards = dict(reversed(SPEAKER_OF.items()))
    assert make_list(SPEAKER_OF, 100, 1) == make_list(backwards, 100, 1)
    assert make_list(SPEAKER_OF, 100, 1) != make_list(SPEAKER_OF, 100, 2)
    # Computed once; a change means that seeded lists are no longer those of earlier versions.
    assert make_list(SPEAKER_OF, 100, 1).sha256 == "ca5221ed6942556c380415ca9c11033266ef8085d1d8f0585917a977ded59e21"


def test_speakers_and_levels_are_drawn_uniformly():
    speaker_of = {f"{speaker}{i}": speaker for speaker, count in (("a", 100), ("b", 200), ("c", 300)) for i in range(count)}
    mixtures = make_list(speaker_of, 3000, 0)
    drawn = Counter(speaker_of[path] for entry in mixtures.entries for path in entry.paths)
    # Five standard deviations; a mixture has a given speaker with probability 2/3.
    assert all(abs(drawn[speaker] - 2000) < 5 * math.sqrt(3000 * 2 / 9) for speaker in "abc")
    snr = [2 * entry.gains_db[0] for entry in mixtures.entries]
    assert all(abs(sum(value < limit for value in snr) / 3000 - limit / 5) < 0.046 for limit in (1, 2, 3, 4))


def test_more_mixtures_than_pairs_are_refused_and_all_pairs_can_be_drawn():
    speaker_of = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}
    assert len(make_list(speaker_of, 5, 0).entries) == 5  # 2 + 2 + 1 pairs
    with pytest.raises(UserError, match="only 5 pairs"):
        make_list(speaker_of, 6, 0)
    with pytest.raises(UserError, match=r"no path with white space, such as 'a b\.wav'"):
        make_list({"a b.wav": "1", "c.wav": "2"}, 1, 0)


def test_an_entry_needs_two_sources_with_gains():
    with pytest.raises(ValueError, match="two or more sources"):
        ListEntry(("a.wav",), (0.0,))
    assert not MixtureList(()).entries
