import numpy as np
import pytest

from separator.images.labelled import LabelledImages, divided


@pytest.mark.parametrize(("count", "held_out"), [(60_000, 6_000), (50_000, 5_000), (120_000, 10_000)])
def test_a_tenth_is_held_out_but_not_more_than_telling_epochs_apart_takes(count, held_out):
    train = LabelledImages(np.arange(count, dtype=np.uint32).reshape(-1, 1, 1, 1), np.zeros(count, np.int64), "test")
    images = divided(train, train.take(slice(5)), 1)
    assert len(images.dev) == held_out
    together = np.concatenate([images.train.pixels, images.dev.pixels]).ravel()
    assert np.array_equal(np.sort(together), np.arange(count))
