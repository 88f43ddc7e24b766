import dataclasses

import pytest

from separator.errors import UserError
from separator.models.card import ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import save_model
from separator.tasks.learning.settings import machine_of, optimiser_of
from separator.tasks.problems.registry import PROBLEMS, entry_named, problem_of_model


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_is_a_frozen_dataclass_of_its_name_with_usual_settings_that_there_are(name):
    problem = entry_named(name).load()
    assert problem.name == name and problem.__dataclass_params__.frozen
    assert {"data", "network"} <= {field.name for field in dataclasses.fields(problem)}
    assert optimiser_of(problem, lr=0.5).lr == 0.5 and machine_of(problem).nodes == 1
    assert isinstance(problem.usual_network().to_dict(), dict)
    own = {"data", "network"} | {field.name for field in dataclasses.fields(problem)}
    assert {place.partition(".")[0] for place in (*problem.of_the_machine, *problem.of_the_scores)} <= own


def test_a_model_tells_its_problem(tmp_path):
    config = FeedForwardConfig("9-10")
    save_model(tmp_path / "digits", FeedForward(config), ModelCard("digits", config.to_dict(), architecture="feedforward"))
    assert problem_of_model("small-snn") == problem_of_model("small-ann@4") == "speech"
    assert problem_of_model(str(tmp_path / "digits")) == "images"
    assert problem_of_model(str(tmp_path / "absent")) is None


def test_there_is_no_other():
    with pytest.raises(UserError, match="no problem 'tables'; take speech or images"):
        entry_named("tables")
