import pytest

from separator.errors import UserError
from separator.tasks.journal import Journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results" / "table.csv"


def journal(path):
    return Journal(path, ["name", "part"], ["value", "note"])


def test_rows_survive_and_later_ones_replace_earlier_ones(path):
    first = journal(path)
    first.add([{"name": "b", "part": 1, "value": 1 / 3}, {"name": "a", "part": 2, "value": float("nan"), "note": "x,y"}])
    first.add([{"name": "b", "part": 1, "value": 2.5, "note": "again"}])
    second = journal(path)
    assert second.rows == first.rows
    assert second.rows["b", "1"] == {"name": "b", "part": "1", "value": "2.5", "note": "again"}
    assert second.rows["a", "2"] == {"name": "a", "part": "2", "value": "nan", "note": "x,y"}
    second.finish()
    assert path.read_text() == 'name,part,value,note\na,2,nan,"x,y"\nb,1,2.5,again\n'


def test_a_row_that_was_cut_off_is_not_taken(path):
    whole = journal(path)
    whole.add([{"name": "a", "part": 1, "value": 1.5, "note": "n"}, {"name": "b", "part": 1, "value": 2.25, "note": "n"}])
    text = path.read_text()
    for cut in range(1, len("b,1,2.25,n\n") + 1):
        path.write_text(text[:-cut])
        again = journal(path)
        assert set(again.rows) == {("a", "1")}
        again.add([{"name": "c", "part": 1, "value": 3.0}])
        assert set(journal(path).rows) == {("a", "1"), ("c", "1")}


def test_another_table_is_refused_and_kept(path):
    path.parent.mkdir()
    path.write_text("name,other\n1,2\n")
    with pytest.raises(UserError, match="take another --out"):
        journal(path)
    assert path.read_text() == "name,other\n1,2\n"


def test_a_former_table_is_gone_on_with(path):
    path.parent.mkdir()
    path.write_text("name,part,note\na,1,x\n")
    newer = Journal(path, ["name", "part"], ["value", "note"], newer=["value"])
    assert newer.rows == {("a", "1"): {"name": "a", "part": "1", "value": "", "note": "x"}}
    newer.add([{"name": "b", "part": 1, "value": 2.5, "note": "y"}])
    newer.finish()
    assert path.read_text() == "name,part,value,note\na,1,,x\nb,1,2.5,y\n"
    path.write_text("name,note\na,x\n")
    keyed = Journal(path, ["name", "part"], ["note"], newer=["part"])
    assert keyed.find({"name": "a", "part": ""}) == {"name": "a", "part": "", "note": "x"}
    for wrong in ("name,part,value\na,1,2\n", "name,note,part\na,x,1\n", "name,part,note,other\na,1,x,y\n"):
        path.write_text(wrong)
        with pytest.raises(UserError, match="take another --out"):
            Journal(path, ["name", "part"], ["value", "note"], newer=["value"])


def test_a_file_that_is_no_text_is_refused(path):
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot read"):
        journal(path)


def test_rows_are_found_by_the_values_of_their_key(tmp_path):
    journal = Journal(tmp_path / "rows.csv", ("name", "size"), ("time",))
    journal.add([{"name": "a", "size": 4.0, "time": 1.5}])
    for known in (journal, Journal(tmp_path / "rows.csv", ("name", "size"), ("time",))):
        assert known.find({"name": "a", "size": 4}) == {"name": "a", "size": "4", "time": "1.5"}
        assert known.find({"name": "a", "size": 5}) is None


def test_finished_rows_have_the_order_in_which_they_are_read_back(path):
    journal = Journal(path, ("id",), ("value",))
    journal.add([{"id": name, "value": 1} for name in "cab"])
    journal.finish()
    assert list(journal.rows) == list(Journal(path, ("id",), ("value",)).rows) == [("a",), ("b",), ("c",)]
