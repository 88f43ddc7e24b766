import math

import numpy as np
import pytest
from matplotlib.image import imread

from separator.cli.main import main
from separator.errors import UserError
from separator.tasks.presentation.derivatives import Drawn, derivatives_figure


def curves(**settings):
    by_time, by_distance = derivatives_figure(Drawn(**settings)).axes
    return {line.get_label(): line.get_xydata().tolist() for axes in (by_time, by_distance) for line in axes.lines}


def test_they_are_those_of_the_papers_equations():
    drawn = curves(alpha=0.5, beta=0.25, steps=130, reach=3.0)
    assert list(drawn) == ["stdb", "linear", "exponential"]
    assert [dt for dt, _ in drawn["stdb"]] == list(range(130))  # Eq. 12: from 0 to below T
    equations = {
        "stdb": lambda dt: 0.5 * math.e ** (-0.25 * dt),
        "linear": lambda u: 0.5 * max(0, 1 - abs(u)),
        "exponential": lambda u: 0.5 * math.e ** (-0.25 * abs(u)),
    }
    for name, equation in equations.items():
        assert [y for _, y in drawn[name]] == pytest.approx([equation(x) for x, _ in drawn[name]], rel=1e-12)
    for name in ("linear", "exponential"):
        (left, _), *_, (right, _) = drawn[name]
        assert (left, right) == pytest.approx((-3, 3))
        assert max(drawn[name], key=lambda point: point[1]) == [0, 0.5]  # at the threshold itself


def test_they_are_the_papers_unless_others_are_asked_for():
    drawn = curves()
    assert drawn["stdb"][0] == [0, 0.3] and drawn["stdb"][99][1] == pytest.approx(0.3 * math.exp(-0.99))
    assert len(drawn["stdb"]) == 100


def test_they_are_drawn_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "derivatives.png"
    assert main(["plot-derivatives", "--out", str(path), "--steps", "10"]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    pixels = np.round(imread(path)[..., :3] * 255).astype(int)
    half = pixels.shape[1] // 2
    for colour, place in (((31, 119, 180), 0), ((255, 127, 14), 1), ((44, 160, 44), 1)):  # matplotlib's first three
        shares = [(part == colour).all(-1).sum() for part in (pixels[:, :half], pixels[:, half:])]
        assert shares[place] > max(100, 10 * shares[1 - place])


def test_mistakes_are_one_line(tmp_path, capsys):
    for settings, message in (({"alpha": -1.0}, "alpha"), ({"reach": math.nan}, "reach"), ({"steps": 10**6}, "steps")):
        with pytest.raises(UserError, match=f"{message} is a"):
            Drawn(**settings)
    assert main(["plot-derivatives", "--out", str(tmp_path / "x.doc")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("separator plot-derivatives: error: cannot draw") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
