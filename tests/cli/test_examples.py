from separator.cli.main import main
from tests.tasks.mixture_sets import make_set, save_tiny_models


def test_one_example_of_each_pair_of_genders_and_a_page(tmp_path, capsys):
    make_set(tmp_path / "set", ["mf", "mm"], seconds=0.5)
    ann, snn = save_tiny_models(tmp_path)
    options = ["--mixtures", f"open={tmp_path / 'set'}", "--model", f"ann={ann}", f"snn={snn}", "--out", str(tmp_path / "out")]
    assert main(["examples", *options]) == 0
    page = tmp_path / "out" / "index.html"
    assert capsys.readouterr().out == f"{page}\n"
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    names = ["ann_s1.wav", "ann_s2.wav", "mixture.wav", "s1.wav", "s2.wav", "snn_s1.wav", "snn_s2.wav", "spectrograms.png"]
    assert files == ["index.html", *(f"open/{mixture}/{name}" for mixture in ("mix0", "mix1") for name in names)]


def test_mistakes_are_one_line(tmp_path, capsys):
    make_set(tmp_path / "set", ["mf"], seconds=0.5)
    ann, _ = save_tiny_models(tmp_path)
    options = ["--mixtures", f"open={tmp_path / 'set'}", "--model", f"ann={ann}", "--out", str(tmp_path / "out")]
    assert main(["examples", *options, "--ids", "mix7"]) == 1
    told = "there is no mixture 'mix7' in the set open; --ids are taken from each set"
    assert capsys.readouterr().err == f"separator examples: error: {told}\n"
    assert main(["examples", *options, "--model", f"ann={ann}"]) == 1
    assert "two are called ann; give each a name of its own" in capsys.readouterr().err
    assert main(["examples", *options, "--model", f"mixture={ann}"]) == 1
    assert "the name 'mixture' is taken; give the model another one" in capsys.readouterr().err
    assert main(["examples", *options, "--scores", str(tmp_path)]) == 1
    assert "is not a table of `separator evaluate`" in capsys.readouterr().err


def test_scores_are_those_of_the_last_model(tmp_path, capsys):
    make_set(tmp_path / "set", ["mf"], seconds=0.5)
    ann, snn = save_tiny_models(tmp_path)
    mixtures = ["--mixtures", f"open={tmp_path / 'set'}"]
    scoring = ["--metrics", "si-sdr", "--jobs", "1", "--device", "cpu", "--out", str(tmp_path / "scores")]
    assert main(["evaluate", *mixtures, "--model", f"ann={ann}", f"snn={snn}", *scoring]) == 0
    options = [*mixtures, "--scores", str(tmp_path / "scores"), "--out", str(tmp_path / "out")]
    assert main(["examples", *options, "--model", f"snn={snn}@8"]) == 1
    assert "snn in " in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(["examples", *options, "--model", f"snn={ann}", f"ann={ann}"]) == 0
    assert (tmp_path / "out" / "index.html").is_file()
