import io

import numpy as np
import pytest
from PIL import Image

from separator.errors import UserError
from separator.images.cifar import BATCHES, COPY, read_cifar10, read_cifar100

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 3, 32, 32), np.uint8)
LABELS = RNG.integers(0, 10, 12).astype(np.uint8)


def write_batches(folder):
    folder.mkdir(exist_ok=True)
    rows = np.concatenate([LABELS[:, None], IMAGES.reshape(12, -1)], 1)
    for i, name in enumerate([*BATCHES["train"], *BATCHES["test"]]):
        (folder / name).write_bytes(rows[2 * i : 2 * i + 2].tobytes())


def write_copy(path):
    arrays = {}
    for part, places in (("train", slice(0, 10)), ("test", slice(10, 12))):
        coded = []
        for image in IMAGES[places] // 8 * 8:
            buffer = io.BytesIO()
            smooth = np.broadcast_to(image.mean((1, 2), keepdims=True), image.shape).astype(np.uint8)
            Image.fromarray(smooth.transpose(1, 2, 0)).save(buffer, "JPEG", quality=95)
            coded.append(buffer.getvalue())
        offsets = np.cumsum([0, *map(len, coded)])
        stream = np.frombuffer(b"".join(coded), np.uint8)
        arrays |= {f"{part}_jpeg": stream, f"{part}_offsets": offsets, f"{part}_labels": LABELS[places]}
    np.savez(path, **arrays)


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_binary_batches_are_read_in_order(tmp_path, below):
    write_batches(tmp_path / below)
    images = read_cifar10(tmp_path)
    assert (len(images.train), len(images.dev), len(images.test)) == (9, 1, 2)
    assert np.array_equal(images.test.pixels, IMAGES[10:])
    assert np.array_equal(images.test.labels, LABELS[10:])
    places = [int(np.flatnonzero((image == IMAGES).all((1, 2, 3)))[0]) for image in images.train.pixels]
    assert places == sorted(places)
    assert np.array_equal(images.train.labels, LABELS[places])


def test_the_jpeg_copy_is_read_and_named(tmp_path):
    write_copy(tmp_path / COPY)
    images = read_cifar10(tmp_path)
    assert "JPEG copy" in images.test.origin
    means = (IMAGES[10:] // 8 * 8).mean((2, 3))
    assert np.abs(images.test.pixels.mean((2, 3)) - means).max() < 4
    assert np.array_equal(images.test.labels, LABELS[10:])


def test_bad_files_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"neither test_batch\.bin nor cifar10_jpeg\.npz"):
        read_cifar10(tmp_path)
    (tmp_path / COPY).write_bytes(b"no archive")
    with pytest.raises(UserError, match="damaged"):
        read_cifar10(tmp_path)
    write_batches(tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(bytes(3072))
    with pytest.raises(UserError, match=r"data_batch_3.bin has 3072 bytes"):
        read_cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(bytes([10] * 3073))
    with pytest.raises(UserError, match="labels from 1 to 10"):
        read_cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(UserError, match=r"cannot read .*data_batch_3\.bin: No such file"):
        read_cifar10(tmp_path)


def write_hundred(folder, fine):
    folder.mkdir(exist_ok=True)
    rows = np.concatenate([(fine // 5)[:, None], fine[:, None], IMAGES.reshape(12, -1)], 1)
    (folder / "train.bin").write_bytes(rows[:10].tobytes())
    (folder / "test.bin").write_bytes(rows[10:].tobytes())


@pytest.mark.parametrize("below", ["", "cifar-100-binary"])
def test_a_hundred_classes_are_the_fine_ones(tmp_path, below):
    fine = np.arange(99, 87, -1).astype(np.uint8)
    write_hundred(tmp_path / below, fine)
    images = read_cifar100(tmp_path)
    assert images.classes == 100 and images.test.origin == "CIFAR-100 (test)"
    assert np.array_equal(images.test.pixels, IMAGES[10:]) and images.test.labels.tolist() == [89, 88]
    held = sorted([*images.train.labels, *images.dev.labels])
    assert held == sorted(fine[:10]) and (len(images.train), len(images.dev)) == (9, 1)


def test_bad_files_of_a_hundred_classes_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no test\.bin; give the folder with CIFAR-100's binary version"):
        read_cifar100(tmp_path)
    write_hundred(tmp_path, np.full(12, 100, np.uint8))
    with pytest.raises(UserError, match="labels from 100 to 100, not 0 to 99"):
        read_cifar100(tmp_path)
    (tmp_path / "train.bin").write_bytes(bytes(3073))
    with pytest.raises(UserError, match=r"train\.bin has 3073 bytes, not a multiple of 3074"):
        read_cifar100(tmp_path)
