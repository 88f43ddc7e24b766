import json

import pytest

from separator.cli.main import main
from separator.cli.options.arguments import named
from separator.errors import UserError
from separator.tasks.evaluation.mixtures import speed
from separator.writer import sole_writer
from tests.tasks.mixture_sets import make_set, save_tiny_models, write_estimates


def test_models_and_files_are_scored(tmp_path, capsys):
    mixtures = make_set(tmp_path / "set")
    write_estimates(tmp_path / "estimates", mixtures)
    ann, snn = save_tiny_models(tmp_path)
    command = ["evaluate", "--mixtures", f"open={tmp_path / 'set'}", "--out", str(tmp_path / "out"), "--jobs", "1"]
    command += ["--model", f"ann={ann}", f"snn2={snn}@2", "--estimates", f"mine={tmp_path / 'estimates'}", "--limit", "2"]
    command += ["--shifts", "1", "2"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "| Open | mine |" in printed.out
    assert "SUBSET of 2 of 3" in printed.out
    assert "scoring" not in printed.err  # quiet when piped
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "RESULTS.md",
        "operations.csv",
        "pitch.csv",
        "pitch.png",
        "scores.csv",
        "spikes.csv",
        "spikes.png",
        "summary.json",
    ]
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["summary"]["open"]) == ["mixture", "ann", "snn2", "ann, 2 shifts", "snn2, 2 shifts", "mine"]
    assert report["summary"]["open"]["mine"]["overall"]["si-sdri"]["mean"] > 5
    assert report["summary"]["open"]["mixture"]["overall"]["pesq"]["count"] == 4
    assert report["operations"]["open"]["snn2"]["window"] == 2


def test_models_are_timed_if_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.5)
    monkeypatch.setattr(speed, "TURNS", 1)
    make_set(tmp_path / "set")
    ann, _ = save_tiny_models(tmp_path)
    command = ["evaluate", "--mixtures", f"open={tmp_path / 'set'}", "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert main([*command, "--model", f"mine={ann}", "--metrics", "si-sdr", "--limit", "1", "--speed", "1", "--json"]) == 0
    timed = json.loads(capsys.readouterr().out)["real_time_factors"]
    assert timed["threads"] == 1 and list(timed["systems"]) == ["mine"] and timed["systems"]["mine"] > 0
    assert "on 1 CPU thread.\n" in (tmp_path / "out" / "RESULTS.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mixtures", "open=nowhere"], "there is no folder nowhere"),
        (["--mixtures", "=set"], "expected NAME=VALUE"),
        (["--mixtures", "open=set", "open=set"], "two are called open"),
        (["--mixtures", "open=set", "--model", "ann=nothing"], "no model 'nothing'"),
        (["--mixtures", "open=set", "--estimates", "mine=nothing"], "no estimates of mix0 by mine"),
        (["--mixtures", "open=set", "--device", "abacus"], "no device 'abacus'"),
        (["--mixtures", "open=set", "--model", "small-ann", "--shifts", "99"], "takes 1 to 32 shifts"),
        (["--mixtures", "open=set", "--model", "small-ann", "--shifts", "2", "--speed", "1"], "1 among --shifts"),
        (["--mixtures", "open=set", "--estimates", "mine=set", "--speed", "1"], "--speed measures models"),
    ],
)
def test_mistakes_are_one_line(options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_set(tmp_path / "set", ["mf"])
    assert main(["evaluate", *options, "--out", "out"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("separator evaluate: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_second_evaluation_into_the_same_folder_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("separator.writer.PATIENCE", 0.1)
    make_set(tmp_path / "set", ["mf"])
    out = tmp_path / "out"
    with sole_writer(out):
        assert main(["evaluate", "--mixtures", f"open={tmp_path / 'set'}", "--out", str(out)]) == 1
        assert [path.name for path in out.iterdir()] == [".lock"]
    error = capsys.readouterr().err
    assert error.startswith(f"separator evaluate: error: another process writes into {out}") and error.count("\n") == 1


def test_unknown_options_and_metrics_are_refused(capsys):
    for options in (["--metric", "x"], ["--metrics", "snr"], ["--limit", "0"], ["--jobs", "many"], ["--threads", "-1"]):
        with pytest.raises(SystemExit) as status:
            main(["evaluate", "--mixtures", "a=b", "--out", "out", *options])
        assert status.value.code == 2


@pytest.mark.parametrize(
    ("text", "pair"),
    [("open=a/b", ("open", "a/b")), ("a/small.safetensors", ("small", "a/small.safetensors")), ("x=a=b", ("x", "a=b"))],
)
def test_names(text, pair):
    assert named(text) == pair


def test_names_that_cannot_be():
    for text in ("", "=x", "x=", "a/b=c", "..=c", ".=c", "a/.."):
        with pytest.raises(UserError, match="expected NAME=VALUE"):
            named(text)
    for text in ("a|b=c", "a\nb=c"):
        with pytest.raises(UserError, match="would break tables apart; give another one, NAME=c"):
            named(text)
