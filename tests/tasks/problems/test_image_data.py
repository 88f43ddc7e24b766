import numpy as np
import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.images.labelled import LabelledImages
from separator.tasks.problems.image_data import ImageBatches, ImageSettings, PictureData, PictureSettings, epoch_seed
from tests.images.test_idx import mnist

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


@pytest.mark.parametrize(
    "wrong",
    [{"batch": 1}, {"shift": -1}, {"train_limit": 0}, {"watched": 0}, {"dev_batch": 0}],
)
def test_impossible_settings_are_refused(tmp_path, wrong):
    with pytest.raises(UserError, match="at least"):
        ImageSettings(tmp_path, **wrong)


def test_settings_of_folders_are_refused_where_they_mean_nothing(tmp_path):
    with pytest.raises(UserError, match=r"data.pictures is for pictures of a folder \(kind folder\), not for mnist"):
        ImageSettings(tmp_path, pictures=PictureSettings(random_crop=True))
    with pytest.raises(UserError, match="scaled to 100 pixels cannot be cropped to 224"):
        PictureSettings(resize=100)
    with pytest.raises(UserError, match="workers are at least 0"):
        PictureSettings(workers=-1)


def contents(batches):
    return torch.cat([pictures for pictures, _ in batches])


def test_each_epoch_and_layer_has_an_order_of_its_own(tmp_path):
    settings = ImageSettings(mnist(tmp_path, 40), batch=8, flip=True, watched=5, dev_batch=7)
    images = settings.read()
    data, later = PictureData(images, settings, seed=2), PictureData(images, settings, seed=2, first_epoch=3)
    expected = contents(ImageBatches(images.train, 8, epoch_seed(2, 4), flip=True))
    assert torch.equal(contents(data.train(4)), expected) and torch.equal(contents(later.train(1)), expected)
    assert torch.equal(contents(later.layer(4)), expected) and not torch.equal(contents(data.train(3)), expected)
    assert torch.equal(contents(data.calibration(2)), contents(ImageBatches(images.train, 8, 2, flip=True))[:16])
    assert torch.equal(contents(data.dev()["dev"]), contents(ImageBatches(images.dev, 500)))
    assert torch.equal(contents(data.watched()["test"]), contents(ImageBatches(images.test, 500))[:5])
    assert [len(pictures) for pictures, _ in data.test()][:2] == [7, 7]
    assert torch.equal(contents(data.test()), contents(data.counted()))
