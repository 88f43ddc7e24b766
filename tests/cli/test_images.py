import json
from dataclasses import replace

import pytest

from separator.cli.main import command_parser, main
from separator.models.files import load_network
from separator.snn.conversion.presets import PRESETS
from separator.tasks.learning.conversion import TuningSettings
from tests.images.test_idx import mnist


def test_images_are_trained_on_and_converted_from_the_command_line(tmp_path, capsys):
    data = ["--data.folder", str(mnist(tmp_path, 40)), "--data.batch", "10", "--device", "cpu"]
    config = ["--config", "recipes/mnist-autoencoder/conf/ann.yaml", "--network.layers", "9-784", "--optimiser.max_epochs", "1"]
    assert main(["train", *config, *data, "--out", str(tmp_path / "ann")]) == 0
    model = capsys.readouterr().out.strip()
    config = ["--config", "recipes/mnist-autoencoder/conf/ptl.yaml", "--conversion.max_epochs", "1", "--init", model]
    assert main(["convert", *config, *data, "--out", str(tmp_path / "snn")]) == 0
    spiking = capsys.readouterr().out.strip()
    _, card = load_network(spiking)
    assert card.window == 32 and card.scores["goal"] == "reconstruct"
    folder, options = ["--data.folder", str(tmp_path)], ["--device", "cpu", "--out", str(tmp_path / "results")]
    command = ["evaluate", "--model", model, spiking, f"snn4={spiking}@4", *folder, "--pictures", "2", *options]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert f"| ann | {load_network(model)[1].scores['test']:.5f} | " in printed.out
    assert f"| snn | {card.scores['test']:.5f} | " in printed.out
    assert "| snn4 | 4 | 4 | pipelined |" in printed.out
    assert printed.err.splitlines() == ["scoring ann", "scoring snn", "scoring snn4", f"results are in {tmp_path / 'results'}"]
    written = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert written == ["RESULTS.md", "ann.png", "results.csv", "results.json", "snn.png", "snn4.png", "spikes.png"]
    assert main([*command, "--json"]) == 0
    assert [model["window"] for model in json.loads(capsys.readouterr().out)["models"]] == [None, 32, 4]


def test_ways_of_learning_are_drawn_side_by_side_from_the_command_line(tmp_path, capsys):
    data = ["--data.folder", str(mnist(tmp_path, 40)), "--data.batch", "10", "--device", "cpu", "--network.layers", "9-10"]
    runs = []
    for learning, derivative, own in (
        ("tandem", "rectangular", []),
        ("surrogate", "arctan", ["--learning.surrogate", "arctan"]),
    ):
        out = str(tmp_path / learning)
        options = [
            "--problem",
            "images",
            "--learning.rule",
            learning,
            "--conversion.window",
            "3",
            "--optimiser.max_epochs",
            "1",
        ]
        assert main(["train", *data, *options, *own, "--out", out]) == 0
        _, card = load_network(capsys.readouterr().out.strip())
        assert (card.window, card.conversion["learning"], card.conversion["surrogate"]) == (3, learning, derivative)
        runs.append(f"{learning}/tiny={out}")
    assert main(["plot-curves", *runs, "--out", str(tmp_path / "curves.png")]) == 0
    assert capsys.readouterr().out == (tmp_path / "curves.md").read_text()
    assert main(["plot-curves", "tiny", "--out", str(tmp_path / "none.png")]) == 1
    assert capsys.readouterr().err == "separator plot-curves: error: expected PANEL/LINE=FOLDER or LINE=FOLDER, not 'tiny'\n"


def test_mistakes_are_one_line(tmp_path, capsys):
    arguments = ["train", "--problem=images", "--network.layers", "9-784", "--out", str(tmp_path / "out"), "--data.folder"]
    assert main([*arguments, str(tmp_path / "nowhere")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "give the folder with the four files of MNIST" in error
    assert not (tmp_path / "out").exists()
    arguments[0:4] = ["evaluate", "--problem=images", "--model", "nothing"]
    assert main([*arguments, str(mnist(tmp_path))]) == 1
    assert "no model 'nothing'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    arguments[0:4] = ["train", "--problem=images", "--network.layers", "9-784"]
    assert main([*arguments, str(tmp_path)]) == 1
    assert "to classify, the network needs 10 outputs, not 784" in capsys.readouterr().err


def test_a_preset_changes_defaults_wherever_it_is_given(tmp_path):
    """Files and options go before it."""
    (tmp_path / "preset.yaml").write_text("preset: few-steps\nconversion: {window: 4, passes: 1}\n")
    required = ["--problem", "images", "--init", "m", "--data.folder", "d", "--out", "o"]

    def conversion(*options):
        return command_parser("convert")[1].parse_args([*required, *options]).conversion

    tuned = {"published", "few-steps"}  # of the others, none leaves another's
    assert frozenset(PRESETS["published"]) == frozenset(PRESETS["few-steps"])
    assert len({frozenset(PRESETS[name]) | {"threshold"} for name in PRESETS.keys() - tuned}) == 1
    assert TuningSettings(**PRESETS["published"]) == replace(TuningSettings(), statistics="all")
    few = TuningSettings(**PRESETS["few-steps"])
    assert conversion("--preset", "few-steps") == few != TuningSettings() == conversion()
    assert conversion("--conversion.initial_potential", "0.25", "--preset=few-steps") == replace(few, initial_potential=0.25)
    assert conversion("--config", str(tmp_path / "preset.yaml")) == replace(few, window=4, passes=1)


def test_unknown_presets_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(
            [
                "convert",
                "--problem",
                "images",
                "--init",
                "m",
                "--data.folder",
                "d",
                "--out",
                str(tmp_path / "o"),
                "--preset",
                "fast",
            ]
        )
    assert "there is no preset 'fast'; take one of published, few-steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--optimiser.lr", "high"], 'Parser key "optimiser.lr": Expected a float. Got value: high'),
        (["--optimiser.activity_penalty", "-1"], "activity_penalty is a number of at least 0, not -1.0"),
        (["--learning.rule", "by heart"], "Expected a Literal['analog', 'tandem', 'surrogate', 'stdb']. Got value: by heart"),
        (["--teacher", "1"], "unrecognized arguments: --teacher 1"),
        (["--config", "missing.yaml"], "File does not exist: '"),
        (["--config", "egs/demo/mix.wav"], "egs/demo/mix.wav is no configuration"),
        (["--config", "recipes/open-2mix/conf/networks.txt"], "error: recipes/open-2mix/conf/networks.txt is no configuration"),
        ([], "the following arguments are required"),
    ],
)
def test_wrong_options_get_one_line(options, said, tmp_path, capsys):
    required = ["--network.layers", "4-2", "--data.folder", "d", "--out", str(tmp_path / "o")] if options else []
    with pytest.raises(SystemExit) as left:
        main(["train", "--problem", "images", *required, *options])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("separator train: error: ") and said in line and line.endswith("(--help tells more)")
