"""The recipe for wsj0-2mix, on a corpus that is made up."""

from separator.corpora.mixtures import read_mixtures
from tests.recipes.running import BLANK, MACHINE, SHORT, SMALL, run


def test_makes_the_mixtures_of_the_lists(fake_wsj0, tmp_path):
    options = ("--wsj0", fake_wsj0.root, "--lists", fake_wsj0.lists, "--levels", fake_wsj0.levels)
    status, error = run("wsj0-2mix", *options, "--data", tmp_path, "--exp", tmp_path, "--stop-stage", 1, "--jobs", 1)
    assert status == 0, error
    counts = {name: len(read_mixtures(tmp_path / "wav8k" / "min" / name)) for name in ("tr", "cv", "tt")}
    assert counts == {"tr": 6, "cv": 3, "tt": 9}
    assert read_mixtures(tmp_path / "wav8k" / "min" / "cv")[0].genders == ("m", "f")


def test_runs_from_the_discs_to_the_examples(fake_wsj0, tmp_path):
    """On all mixtures to train with, and the first two of the other lists."""
    (tmp_path / "lists").mkdir()
    for path in fake_wsj0.lists.glob("*.txt"):
        lines = path.read_text().splitlines(keepends=True)
        (tmp_path / "lists" / path.name).write_text("".join(lines if path.stem.endswith("tr") else lines[:2]))
    status, error = run(
        "wsj0-2mix",
        *("--wsj0", fake_wsj0.root, "--lists", tmp_path / "lists", "--levels", fake_wsj0.levels),
        *("--genders", fake_wsj0.genders),
        *("--data", tmp_path, "--exp", tmp_path / "exp", "--tag", "tiny", "--jobs", 1),
        *("--train-options", f"{SMALL} {SHORT} {MACHINE}"),
        *("--convert-options", f"{SHORT} --conversion.max_epochs 1 --conversion.window 4 --threads 1"),
        **{BLANK: "convert examples"},
    )
    assert status == 0, error
    out = tmp_path / "exp" / "tiny"
    expected = ("ann/ann.safetensors", "ptl/snn.safetensors", "ptl/report.md", "RESULTS.md", "examples/index.html")
    assert [name for name in expected if not (out / name).is_file()] == []
    table = (out / "RESULTS.md").read_text()
    for row in ("| Open | mixture |", "| Open | ann |", "| Open | ptl |", "| Closed | ptl |"):
        assert row in table


def test_says_what_it_lacks(fake_wsj0, tmp_path):
    for options, message in (
        ((), "stage 0 needs --wsj0 DIR"),
        (("--wsj0", tmp_path), "stages 0 and 1 need --lists DIR"),
        (("--wsj0", tmp_path, "--lists", fake_wsj0.lists), r"must hold the .wv1 recordings"),
        (("--wsj0", tmp_path, "--mode", "mid"), "--mode is min or max, not mid"),
        (("--wsj0", tmp_path, "--rate", "44100"), "--rate is 8000 or 16000, not 44100"),
    ):
        status, error = run("wsj0-2mix", "--data", tmp_path / "d", "--exp", tmp_path / "e", *options)
        assert status == 1
        assert message in error
