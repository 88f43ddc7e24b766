import csv

import pytest

from separator.models.card import ModelCard
from separator.tasks.learning.hours import Heard, plot_hours, write_hours

ROWS = [{"hours": 1.0, "dev_SI-SDRi": 2.0}, {"hours": 3.0, "dev_SI-SDRi": 4.0, "held_out_SI-SDRi": 1.5}]


def test_hours_are_counted_on_from_a_model():
    heard = Heard.of_card(ModelCard("ann", {}, scores={"hours": 80.5, "history": ROWS, "steps": 3}))
    heard.add(1800)
    heard.note({"dev_SI-SDRi": 5.00004})
    assert heard.hours == 81.0
    assert heard.rows == [*ROWS, {"hours": 81.0, "dev_SI-SDRi": 5.0}]
    again = Heard.from_dict(heard.to_dict())
    assert (again.hours, again.rows) == (heard.hours, heard.rows)
    assert ROWS[0] == {"hours": 1.0, "dev_SI-SDRi": 2.0}


def test_counting_goes_on_as_if_it_had_never_stopped():
    unbroken, stopped = Heard(), Heard()
    for seconds in (0.5, 1.7, 2.0, 2.3):
        unbroken.add(seconds)
        stopped.add(seconds)
        stopped = Heard.from_dict(stopped.to_dict(rounded=False))
    assert stopped.hours == unbroken.hours != unbroken.to_dict()["hours"]


def test_a_new_network_has_heard_nothing():
    assert Heard.of_card(ModelCard("ann", {})).to_dict() == {"hours": 0.0, "history": []}


def test_figures_are_fresh_once():
    heard = Heard.from_dict({"hours": 3.0, "history": ROWS})
    assert not heard.fresh()
    heard.note({"dev_SI-SDRi": 5.0})
    assert heard.fresh()
    assert not heard.fresh()


def test_log_has_a_row_for_each_look_and_a_picture(tmp_path):
    write_hours(ROWS, tmp_path)
    with (tmp_path / "hours.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["held_out_SI-SDRi"] for row in rows] == ["", "1.5"]
    assert (tmp_path / "hours.png").read_bytes().startswith(b"\x89PNG")


def test_picture_has_a_line_for_each_figure_where_it_was_measured(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: figures.append(figure))
    plot_hours(ROWS, tmp_path / "hours.png")
    lines = {line.get_label(): line.get_xydata().tolist() for line in figures[0].axes[0].lines}
    assert lines == {"dev": [[1.0, 2.0], [3.0, 4.0]], "held out": [[3.0, 1.5]]}


def test_nothing_heard_leaves_nothing(tmp_path):
    write_hours([], tmp_path)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    from separator.errors import UserError

    with pytest.raises(UserError, match="cannot write"):
        write_hours(ROWS, tmp_path / "file")
