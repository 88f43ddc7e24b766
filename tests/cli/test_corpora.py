"""`separator prepare` and `separator mix`."""

import hashlib

import pytest

from separator.cli.main import main
from separator.corpora.mixtures import read_mixtures


def test_mix_draws_a_list_once_and_makes_its_mixtures(synthetic_corpus, tmp_path, capsys):
    path, out = tmp_path / "list.txt", tmp_path / "out"
    options = ["mix", "--corpus", str(synthetic_corpus / "test"), "--list", str(path), "--jobs", "1"]
    assert main(options) == 1
    assert "give --draw for a list, --out for its mixtures, or both" in capsys.readouterr().err
    assert main([*options, "--draw", "4"]) == 0
    assert capsys.readouterr().out == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}\n"
    assert not out.exists()
    assert main([*options, "--draw", "4", "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith("4 mixtures, 4 of them made now\n")
    assert main([*options, "--out", str(out), "--mode", "max"]) == 1
    assert "mode was min and is max" in capsys.readouterr().err
    assert main([*options, "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith("4 mixtures, 0 of them made now\n")
    assert len(read_mixtures(out)) == 4
    assert main([*options, "--draw", "5"]) == 1
    assert "exists and differs from 5 mixtures drawn with seed 0" in capsys.readouterr().err
    assert main([*options, "--draw", "4", "--seed", "1"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--corpus", "CORPUS", "--draw", "0"], "--draw takes a positive number"),
        (["--corpus", "CORPUS", "--draw", "99"], "only 9 pairs"),
        (["--corpus", "CORPUS", "--levels", "x"], "belong to --wsj0"),
        (["--corpus", "CORPUS"], "cannot read the mixture list"),
        (["--corpus", "CORPUS", "--seed", "3"], "--seed is of the draw; give --draw"),
        (["--wsj0", "CORPUS", "--draw", "3"], "must hold the .wv1"),
        (["--corpus", "nowhere"], "there is no folder"),
    ],
)
def test_mix_refuses_with_one_line(synthetic_corpus, tmp_path, capsys, options, message):
    options = [option.replace("CORPUS", str(synthetic_corpus / "test")) for option in options]
    assert main(["mix", *options, "--list", str(tmp_path / "list.txt"), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["mix", "--rate", "8"], "a sample rate is 100 to 10000000 Hz, not 8"),
        (["prepare", "open-2mix", "--rate", "-8"], "a sample rate is 100 to 10000000 Hz, not -8"),
        (["prepare", "open-2mix", "--utterances", "-3"], "must be at least 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(options)
    assert message in capsys.readouterr().err


def test_draws_are_not_for_wsj0(fake_wsj0, tmp_path, capsys):
    assert main(["mix", "--wsj0", str(fake_wsj0.root), "--list", str(tmp_path / "list.txt"), "--draw", "3"]) == 1
    assert "for WSJ0 take the official lists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["open-2mix"], "give --librispeech, --speechocean762 or both"),
        (["open-2mix", "--librispeech", "TMP"], "SPEAKERS.TXT is missing"),
        (["wsj0", "--wsj0", "TMP", "--lists", "TMP"], "holds no mixture lists"),
    ],
)
def test_prepare_refuses_with_one_line(tmp_path, capsys, options, message):
    options = [option.replace("TMP", str(tmp_path)) for option in options]
    assert main(["prepare", *options, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
