import json

import pytest
import torch

from separator.errors import UserError
from separator.models import ModelCard, load_model, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.tasks.publishing import publish


@pytest.fixture
def model(tmp_path):
    config = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
    path = tmp_path / "trained.safetensors"
    save_model(path, TasNet(config).eval(), ModelCard("tiny-ann", config.to_dict(), scores={"steps": 7}))
    return path


def results(folder, system="ann", mean=3.25):
    statistic = {"mean": mean, "error": 0.1, "count": 40, "failed": 0}
    values = {"summary": {"open": {system: {"overall": {"si-sdri": statistic, "pesq": statistic | {"mean": None}}}}}}
    (folder / "summary.json").write_text(json.dumps(values))
    return folder


def test_scores_go_into_the_card(model, tmp_path):
    path = publish(model, results(tmp_path), "ann", tmp_path / "shipped")
    assert path == tmp_path / "shipped" / "tiny-ann.safetensors"
    published = load_model(path)
    assert published.card.scores == {"steps": 7, "open si-sdri": 3.25}
    mixture = torch.randn(1, 100)
    assert torch.equal(published.network(mixture), load_model(model).network(mixture))


def test_system_that_was_not_scored(model, tmp_path):
    with pytest.raises(UserError, match="no scores of 'other'"):
        publish(model, results(tmp_path), "other", tmp_path)


@pytest.mark.parametrize("text", [None, "not json"])
def test_results_that_cannot_be_read(model, tmp_path, text):
    if text:
        (tmp_path / "summary.json").write_text(text)
    with pytest.raises(UserError, match="cannot read the scores"):
        publish(model, tmp_path, "ann", tmp_path)
