import numpy as np
import pytest
import torch
from torch import nn

from separator.tasks.problems.image_data import ImageBatches
from separator.tasks.problems.image_objectives import ImageObjective, mean_score
from tests.tasks.problems.test_image_data import pictures

CLASSIFY, RECONSTRUCT = ImageObjective("classify"), ImageObjective("reconstruct")


class Fixed(nn.Module):
    """Answers with what it was given beforehand."""

    def __init__(self, answers):
        super().__init__()
        self.register_buffer("answers", answers)
        self.at = 0

    def forward(self, x):
        self.at += len(x)
        return self.answers[self.at - len(x) : self.at]


def test_scores_are_of_all_images():
    images = pictures(30)
    outputs = torch.randn(30, 3)
    right = sum(int(answer.argmax()) == label for answer, label in zip(outputs, images.labels, strict=True))
    assert mean_score(Fixed(outputs), CLASSIFY, ImageBatches(images, 7)) == pytest.approx(100 * right / 30)
    answers = torch.rand(30, 30)
    expected = np.square(answers.numpy() - images.pixels.reshape(30, -1) / 255).mean()
    assert mean_score(Fixed(answers), RECONSTRUCT, ImageBatches(images, 7)) == pytest.approx(expected, rel=1e-6)
    batch = next(iter(ImageBatches(images, 30)))
    assert RECONSTRUCT.loss(Fixed(answers), batch).item() == pytest.approx(expected, rel=1e-5)
    logarithms = outputs.double().log_softmax(1)[range(30), images.labels]
    assert CLASSIFY.loss(Fixed(outputs), batch).item() == pytest.approx(-logarithms.mean().item(), rel=1e-5)
    measured = {
        objective.goal: objective.measure(Fixed(given), batch)
        for objective, given in ((CLASSIFY, outputs), (RECONSTRUCT, answers))
    }
    assert [value.item() for value in measured["reconstruct"]] == pytest.approx([expected, expected], rel=1e-5)
    assert [value.item() for value in measured["classify"]] == pytest.approx(
        [-logarithms.mean().item(), 100 * right / 30], rel=1e-5
    )
    assert [CLASSIFY.score.column, RECONSTRUCT.score.column] == ["accuracy", "mean_square_error"]
