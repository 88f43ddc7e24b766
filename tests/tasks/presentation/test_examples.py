import html
import json
import re
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch

from separator.corpora.mixtures import Mixture
from separator.errors import UserError
from separator.models import load_model
from separator.tasks.evaluation.mixtures.results import identity
from separator.tasks.presentation.examples import (
    Choice,
    check_scores,
    choose_by_gender,
    choose_by_id,
    read_improvements,
    write_example,
    write_page,
)
from separator.tasks.separation.files import Separator
from tests.tasks.mixture_sets import make_set, read, save_tiny_models, write_signal


class Swapped:
    """A stream that knows the sources; gives them in the opposite order, far too loud, once all of the mixture is there."""

    def __init__(self, sources):
        self.estimates = torch.from_numpy(np.stack(sources[::-1])).float()[None]

    def push(self, mixture, last):
        assert last
        return 1e4 * self.estimates + 10 * mixture[:, None]


@pytest.fixture
def mixture(tmp_path):
    return make_set(tmp_path / "set", ["mf"])[0]


def separator(mixture):
    card = SimpleNamespace(name="swapped", kind="ann", sample_rate=8000, n_src=2, causal=False)
    sources = [read(path) for path in mixture.sources]
    return Separator(SimpleNamespace(stream=lambda live=False, shifts=1: Swapped(sources), card=card))


@pytest.fixture
def louder(mixture):
    """The mixture at five times full scale."""
    for path in (mixture.mixture, *mixture.sources):
        samples = read(path)
        write_signal(path, samples * 5 / np.abs(samples).max() if path == mixture.mixture else samples)
    return mixture


def test_sound_files_are_in_the_order_of_the_references_at_the_level_of_the_mixture(mixture, tmp_path):
    example = write_example(Choice(mixture, "why"), {"ann": separator(mixture)}, tmp_path / "out")
    assert example.title == "why, mix0"
    assert all(improvement > 20 for improvement in example.improvements["ann"])
    for number, source in enumerate(mixture.sources, 1):
        estimate, reference = read(tmp_path / "out" / f"ann_s{number}.wav"), read(tmp_path / "out" / f"s{number}.wav")
        assert np.abs(reference - read(source)).max() < 1e-4
        assert np.abs(estimate - reference).max() < 0.02
    assert np.abs(read(tmp_path / "out" / "mixture.wav") - read(mixture.mixture)).max() < 1e-4
    assert (tmp_path / "out" / "spectrograms.png").is_file()


def test_loud_signals_are_lowered_together(louder, tmp_path):
    write_example(Choice(louder, ""), {"ann": separator(louder)}, tmp_path / "out")
    written = {path.stem: read(path) for path in (tmp_path / "out").glob("*.wav")}
    assert max(np.abs(samples).max() for samples in written.values()) <= 32767 / 32768
    gains = [
        np.vdot(written[name], read(path)) / np.vdot(read(path), read(path))
        for name, path in [("mixture", louder.mixture), ("s1", louder.sources[0]), ("s2", louder.sources[1])]
    ]
    assert 0 < gains[0] < 0.21
    assert gains == pytest.approx([gains[0]] * 3, rel=1e-2)


def test_page_links_every_file_and_escapes_names(mixture, tmp_path):
    example = write_example(Choice(mixture, "<best>"), {"a&b#1 5%25?": separator(mixture)}, tmp_path / "out" / "open" / "mix0")
    write_page({"open": [example]}, tmp_path / "out" / "index.html")
    page = (tmp_path / "out" / "index.html").read_text()
    links = [unquote(urlsplit(html.unescape(link)).path) for link in re.findall(r'src="([^"]*)"', page)]
    assert sorted(links) == sorted(f"open/mix0/{path.name}" for path in example.folder.iterdir())
    assert len(links) == 6
    assert "&lt;best&gt;, mix0" in page
    assert "<best>" not in page


def mixtures_of(genders):
    return [Mixture(f"mix{i}", None, (), None, pair) for i, pair in enumerate(genders)]


PAIRS = mixtures_of([("m", "f"), ("m", "m"), ("f", "m"), ("m", "m"), ("f", "f"), ("m", "m"), ("m", "m"), ("m", "m")])


def test_one_of_each_pair_of_genders():
    chosen = {choice.reason: choice.mixture.id for choice in choose_by_gender(PAIRS)}
    assert chosen == {"female and female": "mix4", "female and male": "mix2", "male and male": "mix5"}


def test_best_median_and_worst_of_each_pair():
    scores = {"mix0": 3.0, "mix1": 1.0, "mix2": 9.0, "mix3": 5.0, "mix4": 2.0, "mix5": 4.0, "mix6": -1.0}  # mix7: not scored
    chosen = [(choice.reason, choice.mixture.id) for choice in choose_by_gender(PAIRS, scores)]
    assert chosen == [
        ("female and female", "mix4"),
        ("female and male, best", "mix2"),
        ("female and male, worst", "mix0"),
        ("male and male, best", "mix3"),
        ("male and male, median", "mix1"),
        ("male and male, worst", "mix6"),
    ]


def test_by_id():
    assert [choice.mixture.id for choice in choose_by_id(PAIRS, ["mix3", "mix1"], "open")] == ["mix3", "mix1"]
    with pytest.raises(UserError, match="no mixture 'mix9' in the set open"):
        choose_by_id(PAIRS, ["mix9"], "open")


def test_improvements_are_read_from_scores(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(
        "condition,system,mixture,si-sdri\nopen,ann,a,1\nopen,ann,a,3\nopen,snn,a,9\nclosed,ann,a,9\nopen,ann,b,-1\n"
    )
    assert read_improvements(path, "open", "ann") == {"a": 2.0, "b": -1.0}
    with pytest.raises(UserError, match="no scores of x for open"):
        read_improvements(path, "open", "x")
    path.write_text("condition,system,mixture\nopen,ann,a\n")
    with pytest.raises(UserError, match="not a table"):
        read_improvements(path, "open", "ann")
    with pytest.raises(UserError, match="not a table"):
        read_improvements(tmp_path / "none.csv", "open", "ann")


def test_scores_of_another_network_of_the_same_name_are_refused(tmp_path):
    ann, snn = (load_model(path) for path in save_tiny_models(tmp_path))
    check_scores(tmp_path, "ann", ann)  # an evaluation that has not come to its end
    results = {"summary": {"open": {"ann": {}}}, "networks": {"ann": identity(ann)}}
    (tmp_path / "summary.json").write_text(json.dumps(results))
    check_scores(tmp_path, "ann", ann)
    check_scores(tmp_path, "snn", snn)  # of a former evaluation into the same folder
    ann.network.mask.weight.data += 1
    for model in (ann, snn):
        with pytest.raises(UserError, match="is not the model as it is here; name its own system, or evaluate it"):
            check_scores(tmp_path, "ann", model)
