import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from separator.errors import UserError
from separator.images.idx import FILES, read_fashion_mnist, read_idx, read_mnist
from separator.tasks.problems.image_data import ImageSettings


def idx(numbers):
    return struct.pack(f">BBBB{numbers.ndim}I", 0, 0, 8, numbers.ndim, *numbers.shape) + numbers.tobytes()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.booleans(), st.integers(0, 99))
def test_files_are_read_as_they_were_written(tmp_path_factory, sizes, compressed, seed):
    numbers = np.random.default_rng(seed).integers(0, 256, sizes, np.uint8)
    path = tmp_path_factory.mktemp("idx") / "x"
    path.write_bytes(gzip.compress(idx(numbers)) if compressed else idx(numbers))
    assert np.array_equal(read_idx(path), numbers)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no idx file"),
        (b"\x00\x00\x0d\x01" + bytes(8), "no idx file"),
        (b"\x00\x00\x08\x00", "no idx file"),
        (b"\x00\x00\x08\x02\x00\x00", "0 numbers where it says"),
        (idx(np.zeros((3, 4), np.uint8))[:-1], "11 numbers where it says 3 x 4"),
        (idx(np.zeros((3, 4), np.uint8)) + b"\x00", "13 numbers where it says 3 x 4"),
        (gzip.compress(idx(np.zeros((30, 40), np.uint8)), mtime=0)[:-9], "damaged"),
    ],
)
def test_other_content_is_one_line(tmp_path, content, reason):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason):
        read_idx(path)


def mnist(folder, images=20):
    rng = np.random.default_rng(0)
    for pixels, labels in FILES.values():
        (folder / pixels).write_bytes(idx(rng.integers(0, 256, (images, 28, 28), np.uint8)))
        (folder / f"{labels}.gz").write_bytes(gzip.compress(idx(rng.integers(0, 10, images).astype(np.uint8))))
    return folder


def test_a_tenth_is_held_out_the_same_every_time(tmp_path):
    images = read_mnist(mnist(tmp_path, 40))
    again = read_mnist(tmp_path)
    assert (len(images.train), len(images.dev), len(images.test)) == (36, 4, 40)
    assert images.train.pixels.shape == (36, 1, 28, 28)
    assert np.array_equal(images.dev.pixels, again.dev.pixels)
    together = np.concatenate([images.train.pixels, images.dev.pixels]).reshape(40, -1)
    assert len(np.unique(together, axis=0)) == 40
    whole = read_idx(tmp_path / FILES["train"][0]).reshape(40, -1)
    places = [int(np.flatnonzero((whole == image.ravel()).all(1))[0]) for image in images.train.pixels]
    labels = read_idx(tmp_path / f"{FILES['train'][1]}.gz")
    assert np.array_equal(labels[places], images.train.labels)


def test_fashion_mnist_is_read_as_a_kind_of_its_own(tmp_path):
    images = ImageSettings(mnist(tmp_path), "fashion-mnist").read()
    assert np.array_equal(images.test.pixels[:, 0], read_idx(tmp_path / FILES["test"][0]))
    assert np.array_equal(images.test.labels, read_idx(tmp_path / f"{FILES['test'][1]}.gz"))
    assert images.classes == 10
    (tmp_path / FILES["test"][0]).unlink()
    with pytest.raises(UserError, match="give the folder with the four files of Fashion-MNIST"):
        read_fashion_mnist(tmp_path)


def test_missing_and_foreign_files_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"has no train-images-idx3-ubyte or train-images-idx3-ubyte\.gz"):
        read_mnist(tmp_path)
    mnist(tmp_path)
    path = tmp_path / FILES["train"][0]
    path.write_bytes(idx(np.zeros((19, 28, 28), np.uint8)))
    with pytest.raises(UserError, match="has 19 images but 20 labels"):
        read_mnist(tmp_path)
    path.write_bytes(idx(np.zeros((20, 784), np.uint8)))
    with pytest.raises(UserError, match="2 and 1 dimensions"):
        read_mnist(tmp_path)
    path.write_bytes(idx(np.zeros((0, 28, 28), np.uint8)))
    with pytest.raises(UserError, match="has no images"):
        read_mnist(tmp_path)
