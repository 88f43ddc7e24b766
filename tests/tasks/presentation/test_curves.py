import math

import pytest
from matplotlib.image import imread

from separator.errors import UserError
from separator.snn.observe.report import Noted
from separator.tasks.learning.layer_reports import write_progress
from separator.tasks.presentation.curves import Run, plot_curves, read_curve, to_markdown

HEAD = "dev_accuracy,dev_loss,epoch,step,train_accuracy,train_loss\n"


def write_log(folder, rows, version=0, head=HEAD):
    path = folder / "csv" / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(head + "\n".join(rows))
    return folder


def classifier(folder, accuracies, first=0, version=0):
    """As Lightning writes them: a row of dev values, then one of the same epoch's training."""
    rows = []
    for epoch, accuracy in enumerate(accuracies, first):
        rows += [f"{accuracy},2.0,{epoch},{7 * epoch},,", f",,{epoch},{7 * epoch},{accuracy + 1},1.5"]
    return write_log(folder, rows, version)


def test_rows_of_an_epoch_are_one_and_later_logs_replace_earlier_ones(tmp_path):
    classifier(tmp_path, [10, 20, 30], version=2)
    classifier(tmp_path, [25, 40, math.nan], first=1, version=10)
    curve = read_curve(tmp_path)
    assert curve.epochs == (1, 2, 3, 4)
    assert curve.values["dev_accuracy"][:3] == (10, 25, 40)
    assert math.isnan(curve.values["dev_accuracy"][3])
    assert curve.values["train_accuracy"][:3] == (11, 26, 41)
    assert curve.best("accuracy") == (40, 3)
    assert curve.best("loss") == (2, 1)


def test_rows_of_learning_rates_have_no_epoch_and_are_passed_over(tmp_path):
    classifier(tmp_path, [10, 20])
    path = tmp_path / "csv" / "version_0" / "metrics.csv"
    before = read_curve(tmp_path)
    header, *rows = path.read_text().splitlines()
    empty = ",,,7,,"
    path.write_text("\n".join([header, empty, *rows, empty]) + "\n")
    assert read_curve(tmp_path) == before


def test_table_and_picture_have_every_run(tmp_path):
    classifier(tmp_path / "a11", [30, 60, 50])
    classifier(tmp_path / "t11", [20, 40])
    classifier(tmp_path / "t16", [math.nan, math.nan])
    texts = [f"analog/VGG-11={tmp_path}/a11", f"tandem/VGG-11={tmp_path}/t11", f"tandem/VGG-16={tmp_path}/t16"]
    table = plot_curves([Run.parse(text) for text in texts], tmp_path / "curves.png")
    assert table == tmp_path / "curves.md"
    assert table.read_text().splitlines() == [
        "| learning | network | epochs | best dev accuracy (%) | at epoch | last dev | last train |",
        "|---|---|---:|---:|---:|---:|---:|",
        "| analog | VGG-11 | 3 | 60.00 | 2 | 50.00 | 51.00 |",
        "| tandem | VGG-11 | 2 | 40.00 | 2 | 40.00 | 41.00 |",
        "| tandem | VGG-16 | 2 | - | - | nan | nan |",
    ]
    two = imread(tmp_path / "curves.png")
    plot_curves([Run.parse(text) for text in texts[:1]], tmp_path / "one.png")
    assert imread(tmp_path / "one.png").shape[1] < two.shape[1]


def test_losses_are_taken_where_there_are_no_accuracies(tmp_path):
    rows = ["0.9,0,1,", ",0,1,0.8", "0.05,1,2,", ",1,2,0.04", "0.07,2,3,", ",2,3,0.03"]
    write_log(tmp_path / "auto", rows, head="dev_loss,epoch,step,train_loss\n")
    classifier(tmp_path / "other", [50])
    runs = [Run.parse(f"auto={tmp_path}/auto"), Run.parse(f"other={tmp_path}/other")]
    lines = plot_curves(runs, tmp_path / "curves.png").read_text().splitlines()
    assert "best dev loss" in lines[0]
    assert lines[2:] == [
        "|  | auto | 3 | 0.05000 | 2 | 0.07000 | 0.03000 |",
        "|  | other | 1 | 2.00000 | 1 | 2.00000 | 1.50000 |",
    ]


def test_a_conversion_is_a_curve_through_its_layers(tmp_path):
    history = [
        Noted(0, None, 0.8, {"dev": 75.0}),
        Noted(0, 0, 0.9, {"dev": 60.0}),
        Noted(0, 1, 0.7, {"dev": 76.0}),
        Noted(0, 2, 0.8, {"dev": 73.0}),
        Noted(1, None, 0.7, {"dev": 76.0}),
        Noted(1, 0, 0.9, {"dev": 50.0}),
        Noted(1, 1, 0.8, {"dev": 74.0}),
    ]
    write_progress(history, tmp_path, "accuracy (%)")
    curve = read_curve(tmp_path)
    assert curve.epochs == (0, 1, 2, 3)
    assert curve.values == {"dev_loss": (0.8, 0.7, 0.7, 0.8), "dev_accuracy": (75, 76, 76, 74)}
    assert to_markdown([(Run("progressive", "VGG-11", tmp_path), curve)], "accuracy").splitlines()[-1] == (
        "| progressive | VGG-11 | 3 | - | - | 74.00 | - |"
    )
    losses = [Noted(0, None, 0.3, {"dev": 0.3}), Noted(0, 1, 0.2, {"dev": 0.2})]
    write_progress(losses, tmp_path, "mean square error")  # the same as the loss, and no accuracy all the same
    assert read_curve(tmp_path).values == {"dev_loss": (0.3, 0.2), "dev_mean_square_error": (0.3, 0.2)}
    (tmp_path / "progress.csv").write_text("epoch,dev_loss\n1,0.5\n")
    with pytest.raises(UserError, match=f"the log of {tmp_path} cannot be read"):
        read_curve(tmp_path)


def test_logs_of_other_names_are_refused(tmp_path):
    (classifier(tmp_path, [50]) / "csv" / "version_0").rename(tmp_path / "csv" / "version_old")
    with pytest.raises(UserError, match=f"the log of {tmp_path} cannot be read"):
        read_curve(tmp_path)


def test_mistakes_are_one_line_and_leave_nothing(tmp_path):
    folder = classifier(tmp_path / "a", [50])
    for text in ("VGG-11", "VGG-11=", "=a", "/VGG-11=a", "analog/=a"):
        with pytest.raises(UserError, match="expected PANEL/LINE=FOLDER"):
            Run.parse(text)
    run = Run("", "a", folder)
    with pytest.raises(UserError, match="two runs have the same name"):
        plot_curves([run, run], tmp_path / "x.png")
    with pytest.raises(UserError, match="has no log of a training"):
        plot_curves([Run("", "b", tmp_path / "nowhere")], tmp_path / "x.png")
    write_log(tmp_path / "damaged", ["fifty,2,0,1,,"])
    with pytest.raises(UserError, match=r"the log of .*damaged cannot be read"):
        plot_curves([Run("", "b", tmp_path / "damaged")], tmp_path / "x.png")
    for name, message in (("x.md", "another ending"), ("x.doc", "cannot draw")):
        with pytest.raises(UserError, match=message):
            plot_curves([run], tmp_path / name)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
