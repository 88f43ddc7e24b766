import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from separator.cli.main import command_parser, main, report_errors
from separator.cli.options.problems import problem_told
from separator.errors import DivergedError, UsageError, UserError
from separator.models.card import ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import save_model
from tests.interrupt import interrupted

pytestmark = pytest.mark.usefixtures("blank_pictures")

TINY = ["--network.filters", "32", "--network.filter_length", "16", "--network.channels", "8", "--network.dilations", "[1,2]"]


def arguments(corpus, out, *more):
    data = ["--data.train", str(corpus / "train"), "--data.dev", str(corpus / "dev"), "--data.segment", "0.5"]
    machine = ["--device", "cpu", "--threads", "1", "--machine.devices", "1"]
    return ["train", "--out", str(out), *data, *TINY, *machine, *more]


def test_config_file_and_command_line(synthetic_corpus, tmp_path, capsys, recwarn):
    config = tmp_path / "tiny.yaml"
    config.write_text("data: {epoch_mixtures: 8, dev_mixtures: 4, batch: 4}\noptimiser: {max_epochs: 7}\ncard: {name: mine}\n")
    out = tmp_path / "out"
    status = main(arguments(synthetic_corpus, out, "--config", str(config), "--optimiser.max_epochs", "1"))
    assert status == 0
    assert not any("logging interval" in str(warning.message) for warning in recwarn)
    assert capsys.readouterr().out.strip() == str(out / "ann.safetensors")
    assert b'"mine' in (out / "ann.safetensors").read_bytes() or b'\\"mine' in (out / "ann.safetensors").read_bytes()


def test_the_configuration_that_a_training_keeps_gives_the_same_training(synthetic_corpus, tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text("data: {epoch_mixtures: 8, dev_mixtures: 4, batch: 4}\noptimiser: {stop_patience: null, lr: 0.003}\n")
    given = ["--config", str(file), "--optimiser.max_epochs", "2", "--data.held_out", "[2]", "--seed", "5"]
    assert main(arguments(synthetic_corpus, tmp_path / "a", *given)) == 0
    kept = tmp_path / "a" / "config.yaml"
    assert main(["train", "--out", str(tmp_path / "b"), "--config", str(kept)]) == 0
    first, second = (torch.load(tmp_path / run / "last.ckpt", weights_only=True) for run in "ab")
    assert first["run"] == second["run"] and first["run"]["seed"] == 5 and first["epoch"] == second["epoch"] == 1
    assert all(torch.equal(value, second["state_dict"][name]) for name, value in first["state_dict"].items())
    assert kept.read_bytes() == (tmp_path / "b" / "config.yaml").read_bytes()


def test_a_training_that_does_not_begin_keeps_no_configuration(synthetic_corpus, tmp_path):
    assert main(arguments(synthetic_corpus, tmp_path, "--data.noise", "absent")) == 1
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--network.filter_length", "7"], "filter_length must be even"),
        (["--optimiser.speed", "9"], "speed"),
        (["--optimiser.name", "sgd"], "sgd"),
        (["--network.channels", "many"], "many"),
        (["--data.augment.speed", "2"], "augment.speed is a share between 0 and 1, not 2"),
        (["--data.weights", "most"], "data.weights"),
    ],
)
def test_wrong_values_are_named(synthetic_corpus, tmp_path, capsys, more, words):
    with pytest.raises(SystemExit) as ended:
        main(arguments(synthetic_corpus, tmp_path, *more))
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_several_corpora_and_a_published_configuration(synthetic_corpus, tmp_path):
    both = f"[{synthetic_corpus / 'train'}, {synthetic_corpus / 'test'}]"
    config = Path(__file__).parents[2] / "recipes" / "open-2mix" / "conf" / "medium.yaml"
    own = ["--data.train", both, "--data.held_out", "[2, 0]", "--data.epoch_mixtures", "12", "--data.dev_mixtures", "4"]
    short = [*TINY, "--data.segment", "0.5", "--optimiser.max_epochs", "1", "--optimiser.dev_every", "1"]  # behind the file
    assert main(arguments(synthetic_corpus, tmp_path, "--config", str(config), *own, *short)) == 0
    columns = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"dev_SI-SDRi", "held_out_SI-SDRi"} <= set(columns)


@pytest.mark.parametrize("name", ["absent", "."])
def test_folder_without_a_corpus(synthetic_corpus, tmp_path, capsys, name):
    assert main([*arguments(synthetic_corpus, tmp_path / "out"), "--data.train", str(tmp_path / name)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("separator train: error: ") and str(tmp_path) in error
    assert not list(tmp_path.rglob("*.ckpt"))


def test_output_folder_that_cannot_be_made(synthetic_corpus, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(arguments(synthetic_corpus, tmp_path / "file" / "out")) == 1
    assert "cannot make the folder" in capsys.readouterr().err


def test_ctrl_c_ends_training_with_one_line_and_it_goes_on(synthetic_corpus, tmp_path):
    options = arguments(synthetic_corpus, tmp_path, "--data.epoch_mixtures", "16", "--data.dev_mixtures", "4")
    status, error = interrupted([*options, "--optimiser.max_epochs", "100000"], tmp_path / "last.ckpt")
    assert status == 130
    assert error.strip().endswith("separator train: interrupted")
    assert "Traceback" not in error
    had = torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] + 1
    assert main([*options, "--optimiser.max_epochs", str(had + 1)]) == 0


def test_a_kill_of_all_of_its_processes_ends_training_with_one_line(synthetic_corpus, tmp_path):
    """Its workers get it too, of which torch says that they were killed."""
    options = arguments(synthetic_corpus, tmp_path, "--data.workers", "1", "--data.epoch_mixtures", "100000")
    command = [sys.executable, "-m", "separator.cli.main", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(tmp_path.glob("csv/*/metrics.csv")) and process.poll() is None:  # of the first fifty steps
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in error
    assert error.strip().endswith("separator train: interrupted")


def test_ctrl_c_that_another_error_stands_for_is_one_line_too(capsys):
    """An import of a compiled module that Ctrl-C breaks off fails with an ImportError."""

    def interrupted_import():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    assert report_errors("separator train", interrupted_import) == 130
    assert capsys.readouterr().err == "separator train: interrupted\n"

    def broken_import():
        raise ImportError("no such module")

    with pytest.raises(ImportError, match="no such module"):
        report_errors("separator train", broken_import)


@pytest.mark.parametrize(("error", "status"), [(UserError, 1), (UsageError, 2), (DivergedError, 3)])
def test_each_kind_of_error_has_its_exit_status(error, status, capsys):
    def fail():
        raise error("what went wrong")

    assert report_errors("separator train", fail) == status
    assert capsys.readouterr().err == "separator train: error: what went wrong\n"


def test_the_problem_is_told_by_an_option_a_configuration_or_a_model(tmp_path):
    (tmp_path / "images.yaml").write_text("problem: images\n")
    (tmp_path / "none.yaml").write_text("seed: 3\n")
    digits = FeedForwardConfig("9-10")
    save_model(tmp_path / "digits", FeedForward(digits), ModelCard("digits", digits.to_dict(), architecture="feedforward"))
    for arguments, told in (
        (["--problem", "images"], "images"),
        (["--problem=speech", "--config", str(tmp_path / "images.yaml")], "speech"),
        ([f"--config={tmp_path / 'images.yaml'}", "--config", str(tmp_path / "none.yaml")], "images"),
        (["--init", str(tmp_path / "digits")], "images"),
        (["--model", f"x={tmp_path / 'digits'}@4", "other"], "images"),
        (["--init=small-ann"], "speech"),
        (["--config", str(tmp_path / "none.yaml"), "--init", "nothing"], None),
        (["--config"], None),
    ):
        assert problem_told(arguments) == told, arguments


def test_a_configuration_printed_without_defaults_is_taken_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    digits = FeedForwardConfig("9-10")
    save_model(tmp_path / "digits", FeedForward(digits), ModelCard("digits", digits.to_dict(), architecture="feedforward"))
    for command in (["train", "--problem=images", "--network.layers=9-10"], ["convert", "--init=digits"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--data.folder=d", "--out=o", "--print_config=skip_default"])
        printed = capsys.readouterr().out
        assert ended.value.code == 0 and "problem: images" in printed and "seed" not in printed
        Path("printed.yaml").write_text(printed)
        parsed = command_parser(command[0])[1].parse_args(["--config=printed.yaml"])
        assert (parsed.problem.name, str(parsed.problem.data.folder), str(parsed.out)) == ("images", "d", "o")


@pytest.mark.parametrize("command", ["train", "convert", "sweep", "evaluate", "course"])
def test_a_configuration_is_printed_without_what_has_to_be_given(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--threads", "3", "--print_config"])
    printed = capsys.readouterr().out
    assert ended.value.code == 0 and "out: null" in printed and "threads: 3" in printed


@pytest.mark.parametrize("command", ["train", "convert", "sweep", "evaluate"])
def test_former_commands_say_what_to_call(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([f"{command}-images", "--data.folder", "x"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"separator: error: {command}-images is `separator {command} --problem images` now")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data.folder", "x", "--out", "o"], "for images, give --problem"),
        (
            ["--data.train=a", "--data.dev=b", "--out=o", "--network.channels=abc"],
            "Expected a int. Got value: abc (--help tells more)",
        ),
        (["--data.train=a", "--data.dev=b", "--out=o", "--data.batch=0"], "at least 1, not 0 (--help tells more)"),
        (["--problem", "tables", "--out", "o"], "there is no problem 'tables'; take speech or images"),
        (
            ["--problem=speech", "--config", "images.yaml", "--data.train=a", "--data.dev=b", "--out=o"],
            "--problem is speech, but the",
        ),
        (["--problem=images", "--data.folder=a", "--data.batch=1", "--out=o"], "a batch has at least 2 images, not 1"),
        (["--data.train=a", "--data.dev=b", "--out=o", "--init=small-snn", "--learning.rule=tandem"], "leave out --learning"),
        (["--data.train=a", "--data.dev=b", "--out=o", "--learning.surrogate=arctan"], "give --learning.rule"),
    ],
)
def test_what_does_not_go_together_is_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("images.yaml").write_text("problem: images\n")
    try:
        assert main(["train", *arguments]) == 1
    except SystemExit as ended:
        assert ended.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("separator train: error: ") and words in line


@pytest.mark.parametrize(("problem", "option"), [("speech", "--data.segment"), ("images", "--data.shift")])
def test_help_has_the_options_of_a_problem(problem, option, capsys):
    for command in ("train", "convert", "sweep"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--problem", problem, "--help"])
        shown = capsys.readouterr().out
        assert ended.value.code == 0 and option in shown and f"These are the options for {problem}" in shown


@pytest.mark.parametrize("problem", ["speech", "images"])
@pytest.mark.parametrize("command", ["train", "convert", "sweep"])
def test_help_says_of_each_setting_what_it_is_for(problem, command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--problem", problem, "--help"])
    usage, shown = capsys.readouterr().out.split("\n", 1)
    data = "--data.train TRAIN --data.dev DEV" if problem == "speech" else "--data.folder FOLDER"
    required = usage.removeprefix(f"usage: separator {command} ").removesuffix(" [OPTION VALUE]...").split(" --")
    assert {f"--{option.removeprefix('--')}" for option in required} >= {"--out OUT", *re.findall(r"--\S+ \S+", data)}
    entries = re.split(r"\n  (?=--\w+\.)", shown)[1:]
    assert len(entries) > 50
    for entry in entries:
        name, said = re.fullmatch(r"(\S+)(?: [^ ]+)?(?:, \S+ \S+)?\s*(.*)", " ".join(entry.split()), re.DOTALL).groups()
        assert re.sub(r"\([^()]*\)$", "", said.split("  ")[0]).strip(), name
    with_default = {"speech": "length of a mixture to learn from (4.0)", "images": "mirror training pictures at random (false)"}
    assert with_default[problem] in " ".join(shown.split())


@pytest.mark.parametrize("command", ["evaluate", "course"])
def test_what_only_learning_reads_is_no_option_of_scoring(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--problem", "images", "--help"])
    shown = capsys.readouterr().out
    assert "--data.test_limit" in shown and "--data.batch" not in shown and "--data.watched" not in shown
