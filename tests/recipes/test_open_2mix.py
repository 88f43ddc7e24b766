"""The recipe for open corpora, on one that is made up."""

from separator.corpora.kaldi import read_corpus
from separator.corpora.lists import make_list, read_list
from separator.corpora.mixtures import corpus_sources, read_mixtures
from tests.recipes.running import MACHINE, RECIPES, SHORT, SMALL, run


def test_draws_seeded_lists_and_makes_their_mixtures(synthetic_corpus, tmp_path):
    options = ("--corpus", synthetic_corpus, "--dev-mixtures", 8, "--test-mixtures", 5, "--stop-stage", 1, "--jobs", 1)
    status, error = run("open-2mix", *options, "--data", tmp_path, "--exp", tmp_path)
    assert status == 0, error
    for name, count, seed in (("dev", 8, 1), ("test", 5, 2)):
        sources = corpus_sources(read_corpus(synthetic_corpus / name))
        drawn = make_list({path: source.speaker for path, source in sources.items()}, count, seed)
        assert read_list(tmp_path / "lists" / f"{name}.txt") == drawn
        assert [m.id for m in read_mixtures(tmp_path / "wav8k" / "min" / name)] == [entry.id for entry in drawn.entries]


def test_runs_from_the_corpus_to_the_examples(synthetic_corpus, tmp_path):
    conversion = "--conversion.max_epochs 1 --conversion.calibration_batches 2 --threads 1"
    status, error = run(
        "open-2mix",
        *("--corpus", synthetic_corpus, "--dev-mixtures", 4, "--test-mixtures", 4, "--jobs", 1),
        *("--convert-configs", RECIPES / "open-2mix" / "conf" / "ptl-4.yaml", "--data", tmp_path, "--exp", tmp_path / "exp"),
        *("--train-options", f"{SMALL} {SHORT} {MACHINE}", "--convert-options", f"{SHORT} {conversion}"),
        *("--tune-options", f"{SHORT} {MACHINE}"),
    )
    assert status == 0, error
    out = tmp_path / "exp" / "small"
    expected = ("ann/ann.safetensors", "ptl-4/snn.safetensors", "ptl-4-tuned/snn.safetensors", "examples/index.html")
    assert [name for name in expected if not (out / name).is_file()] == []
    table = (out / "RESULTS.md").read_text()
    assert all(f"| Open | {system} |" in table for system in ("mixture", "ann", "ptl-4", "ptl-4-tuned"))


def test_needs_a_corpus(tmp_path):
    status, error = run("open-2mix", "--data", tmp_path / "d", "--exp", tmp_path / "e")
    assert status == 1
    assert "give --corpus, or --librispeech and --speechocean762" in error
    status, error = run("open-2mix", "--corpus", tmp_path, "--data", tmp_path / "d", "--exp", tmp_path / "e")
    assert status == 1
    assert f"{tmp_path}/train is not a Kaldi data folder" in error
