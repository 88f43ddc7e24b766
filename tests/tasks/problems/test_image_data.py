import numpy as np
import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.images.labelled import LabelledImages
from separator.tasks.problems.image_data import ImageBatches, ImageSettings, image_loss, image_measure, score

RNG = np.random.default_rng(0)


def pictures(count, shape=(1, 6, 5)):
    return LabelledImages(RNG.integers(0, 256, (count, *shape), np.uint8), RNG.integers(0, 3, count), "test")


def test_batches_hold_every_picture_once_and_are_the_same_each_time():
    images = pictures(23)
    batches = ImageBatches(images, 5, seed=3)
    seen, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert len(list(batches)) == len(batches) == 5
    assert torch.equal(seen, torch.cat([batch for batch, _ in batches]))
    whole = torch.from_numpy(images.pixels).float() / 255
    order = [int((whole == picture).flatten(1).all(1).nonzero()) for picture in seen]
    assert sorted(order) == list(range(23)) != order
    assert labels.tolist() == images.labels[order].tolist()
    assert not torch.equal(seen, torch.cat([batch for batch, _ in ImageBatches(images, 5, seed=4)]))
    plain = torch.cat([batch for batch, _ in ImageBatches(images, 5)])
    assert torch.equal(plain, whole)


def test_a_single_picture_is_left_over_in_training_only():
    images = pictures(11)
    assert [len(batch) for batch, _ in ImageBatches(images, 5, seed=0)] == [5, 5]
    assert [len(batch) for batch, _ in ImageBatches(images, 5)] == [5, 5, 1]


def test_pictures_are_mirrored_and_shifted():
    images = pictures(40, (2, 4, 7))
    whole = torch.from_numpy(images.pixels).float() / 255
    padded = nn.functional.pad(whole, (2, 2, 2, 2))
    (varied,) = (batch for batch, _ in ImageBatches(images, 40, seed=1, flip=True, shift=2))
    found = set()
    for picture in varied:
        for mirrored in (False, True):
            for row in range(5):
                for column in range(5):
                    source = padded.flip(-1) if mirrored else padded
                    source = source[:, :, row : row + 4, column : column + 7]
                    if (source == picture).flatten(1).all(1).any():
                        found.add((mirrored, row, column))
    assert len(found) > 20
    for part, values in enumerate(({False, True}, set(range(5)), set(range(5)))):
        assert {place[part] for place in found} == values
    assert padded.shape == (40, 2, 8, 11)


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
    assert score(Fixed(outputs), "classify", images, 7) == pytest.approx(100 * right / 30)
    answers = torch.rand(30, 30)
    expected = np.square(answers.numpy() - images.pixels.reshape(30, -1) / 255).mean()
    assert score(Fixed(answers), "reconstruct", images, 7) == pytest.approx(expected, rel=1e-6)
    batch = next(iter(ImageBatches(images, 30)))
    assert image_loss("reconstruct")(Fixed(answers), batch).item() == pytest.approx(expected, rel=1e-5)
    logarithms = outputs.double().log_softmax(1)[range(30), images.labels]
    assert image_loss("classify")(Fixed(outputs), batch).item() == pytest.approx(-logarithms.mean().item(), rel=1e-5)
    measured = {
        goal: image_measure(goal)(Fixed(given), batch) for goal, given in (("classify", outputs), ("reconstruct", answers))
    }
    assert [value.item() for value in measured["reconstruct"]] == pytest.approx([expected, expected], rel=1e-5)
    assert [value.item() for value in measured["classify"]] == pytest.approx(
        [-logarithms.mean().item(), 100 * right / 30], rel=1e-5
    )


@pytest.mark.parametrize(
    "wrong",
    [{"batch": 1}, {"shift": -1}, {"train_limit": 0}, {"watched": 0}, {"dev_batch": 0}, {"kind": "folder", "workers": -1}],
)
def test_impossible_settings_are_refused(tmp_path, wrong):
    with pytest.raises(UserError, match="at least"):
        ImageSettings(tmp_path, **wrong)


def test_settings_of_folders_are_refused_where_they_mean_nothing(tmp_path):
    with pytest.raises(UserError, match="random_crop is for pictures of a folder"):
        ImageSettings(tmp_path, random_crop=True)
    with pytest.raises(UserError, match="scaled to 100 pixels cannot be cropped to 224"):
        ImageSettings(tmp_path, "folder", resize=100)
