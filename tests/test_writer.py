import os
import signal

import pytest

from separator import writer
from separator.atomic import atomic_path
from separator.errors import UserError
from separator.writer import sole_writer


def test_a_second_writer_is_refused_in_one_line_until_the_first_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "PATIENCE", 0.1)
    folder = tmp_path / "new" / "results"
    with sole_writer(folder):
        with pytest.raises(UserError, match=r"another process writes into .*results; wait for its end") as caught:
            sole_writer(folder).__enter__()
        assert "\n" not in str(caught.value)
        with sole_writer(folder / "beneath"):
            pass
    with sole_writer(folder):
        (folder / "table.csv").write_text("a")
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["table.csv"]


def test_a_killed_writer_leaves_the_folder_free_and_nothing_half_written(tmp_path):
    if (child := os.fork()) == 0:
        with sole_writer(tmp_path), atomic_path(tmp_path / "table.csv") as half:
            half.write_text("a,")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    (tmp_path / ".gitignore").write_text("*")
    assert len(list(tmp_path.iterdir())) == 3  # the lock, what is half written, and what is another's
    with sole_writer(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".gitignore"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot make the folder .*file: there is a file of that name"):
        sole_writer(tmp_path / "file").__enter__()
