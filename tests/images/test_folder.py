import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from separator.errors import UserError
from separator.images.folder import Framing, read_image_folder
from separator.images.labelled import LabelledImages
from separator.tasks.problems.image_data import ImageBatches

SMALL = Framing(resize=20, crop=16)
VARIED = Framing(resize=20, crop=16, random=True)


def tree(folder, train=10, val=3, size=(40, 40)):
    """Pictures of noise in three classes."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("val", val)):
        for name in ("ant", "bee", "cat"):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
                Image.fromarray(pixels).resize(size).save(folder / part / name / f"{i}.JPEG")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tree(tmp_path_factory.mktemp("tree"))


def everything(images, seed=None, batch=7):
    """All pictures and labels, in the order they come in."""
    pictures, labels = (torch.cat(parts) for parts in zip(*ImageBatches(images, batch, seed), strict=True))
    return pictures, labels


def test_a_part_of_train_is_held_out_and_val_is_the_test_set(folder):
    images = read_image_folder(folder, SMALL, 0)
    assert (len(images.train), len(images.dev), len(images.test), images.classes) == (27, 3, 9, 3)
    together = [*images.train.paths, *images.dev.paths]
    assert sorted(together) == sorted(map(str, folder.glob("train/*/*.JPEG")))
    assert sorted(images.test.paths) == sorted(map(str, folder.glob("val/*/*.JPEG")))
    for part in (images.train, images.dev, images.test):
        assert [path.split("/")[-2] for path in part.paths] == [["ant", "bee", "cat"][label] for label in part.labels]
    assert set(images.train.labels[:12]) == set(images.test.labels[:6]) == {0, 1, 2}  # though folders come class by class
    assert list(read_image_folder(folder, SMALL, 0).dev.paths) == list(images.dev.paths)
    assert list(images.test.take(slice(2)).paths) == list(images.test.paths[:2])


@pytest.mark.parametrize("size", [(50, 30), (30, 50), (16, 10), (20, 20)])
def test_the_centre_of_the_scaled_picture_is_seen(tmp_path, size):
    images = read_image_folder(tree(tmp_path, train=2, val=1, size=size), SMALL, 0)
    assert images.train.shape == (3, 16, 16)
    long = int(20 * max(size) / min(size))
    scaled = (long, 20) if size[0] > size[1] else (20, long)
    left, top = (round((n - 16) / 2) for n in scaled)
    for part in (images.train, images.dev, images.test):
        seen, labels = everything(part)
        assert labels.tolist() == part.labels.tolist()
        for path, picture in zip(part.paths, seen, strict=True):
            whole = Image.open(path).resize(scaled, Image.Resampling.BILINEAR)
            expected = np.asarray(whole.crop((left, top, left + 16, top + 16))).transpose(2, 0, 1) / np.float32(255)
            assert np.array_equal(picture.numpy(), expected)


def test_batches_are_the_same_each_time_whoever_decodes_them(folder):
    read = {workers: read_image_folder(folder, VARIED, workers).train for workers in (0, 2)}
    state = torch.get_rng_state()
    pictures, labels = everything(read[0], seed=5)
    assert torch.equal(torch.get_rng_state(), state)  # dropout shall not depend on how pictures are read
    for images in read.values():
        batches = ImageBatches(images, 7, seed=5)
        for _ in range(2):
            again = list(batches)
            assert torch.equal(torch.cat([batch for batch, _ in again]), pictures)
            assert torch.equal(torch.cat([batch for _, batch in again]), labels)
    others, other_labels = everything(read[0], seed=6)
    assert not torch.equal(other_labels, labels)
    assert not any((picture == other).all() for picture in pictures for other in others)
    first = next(iter(ImageBatches(read[2], 7, seed=5)))  # and what is left is not waited for
    assert torch.equal(first[0], pictures[:7])


def test_in_training_a_random_part_is_seen_and_otherwise_the_centre(tmp_path):
    tree(tmp_path, train=20, val=1)
    columns, rows = np.meshgrid(np.arange(200), np.arange(200))
    position = np.stack([columns, rows, columns * 0], 2).astype(np.uint8)
    for path in tmp_path.glob("train/*/*.JPEG"):
        Image.fromarray(position).save(path.with_suffix(".png"))
        path.unlink()
    images = read_image_folder(tmp_path, VARIED, 0)
    seen = everything(images.train, seed=1)[0] * 255
    # Scaled by an average over a 16th of the part, the outermost pixels are half a 16th within its borders.
    wide, high = ((seen[:, channel].amax((1, 2)) - seen[:, channel].amin((1, 2))) * 16 / 15 for channel in (0, 1))
    area, ratio = wide * high / 200**2, wide / high
    assert 0.07 < area.min() < 0.3 and 0.8 < area.max() < 1.02
    assert 0.72 < ratio.min() < 0.85 and 1.2 < ratio.max() < 1.4
    assert seen[:, 0].amin((1, 2)).unique().numel() > 20
    assert seen[:, 0].diff(dim=2).min() > 0 and seen[:, 1].diff(dim=1).min() > 0  # nothing is mirrored
    centre = torch.from_numpy(np.array(Image.fromarray(position).resize((20, 20), Image.Resampling.BILINEAR)))
    for picture in everything(images.dev)[0]:
        assert torch.equal((picture * 255).round().to(torch.uint8), centre[2:18, 2:18].permute(2, 0, 1))


def test_grey_and_cmyk_pictures_become_rgb(tmp_path):
    tree(tmp_path, train=2, val=1)
    red = Image.new("RGB", (40, 40), (200, 30, 60))
    colours = {"ant": ("L", (90, 90, 90)), "bee": ("CMYK", (200, 30, 60)), "cat": ("P", (200, 30, 60))}
    for name, (mode, _) in colours.items():
        (path,) = (tmp_path / "val" / name).iterdir()
        picture = Image.new("L", (40, 40), 90) if mode == "L" else red.convert(mode)
        picture.save(path.with_suffix(".png") if mode == "P" else path, quality=100)
        if mode == "P":
            path.unlink()
    seen, labels = everything(read_image_folder(tmp_path, SMALL, 0).test)
    for picture, label in zip(seen, labels, strict=True):
        expected = list(colours.values())[label][1]
        tolerance = 30 if label == 2 else 4  # a palette has no such red
        assert (picture * 255 - torch.tensor(expected).view(3, 1, 1)).abs().max() < tolerance


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("damage", "reason"), [("cut", "cannot read the picture {}"), ("text", "{} is no picture; remove it")])
def test_a_damaged_picture_is_one_line_that_names_it(folder, tmp_path, workers, damage, reason):
    shutil.copytree(folder, tmp_path / "tree")
    path = tmp_path / "tree" / "val" / "bee" / "1.JPEG"
    path.write_bytes(path.read_bytes()[:500] if damage == "cut" else b"no picture at all")
    images = read_image_folder(tmp_path / "tree", SMALL, workers)
    with pytest.raises(UserError) as error:
        everything(images.test, batch=2)
    assert str(error.value).startswith(reason.format(path)) and "\n" not in str(error.value)


def remove(*parts):
    return lambda root: [shutil.rmtree(root / part) for part in parts]


def empty(root):
    for path in (root / "train" / "cat").iterdir():
        path.rename(path.with_suffix(".txt"))


def flat(root):
    for path in (root / "val").glob("*/*.JPEG"):
        path.rename(root / "val" / f"{path.parent.name}{path.name}")
    remove("val/ant", "val/bee", "val/cat")(root)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (remove("val"), "has no folder val; give the folder with train/CLASS"),
        (remove("train"), "has no folder train; give"),
        (remove("val/bee"), "val lacks classes that .* has elsewhere: bee$"),
        (remove("train/ant", "train/cat"), "train lacks classes that .* has elsewhere: ant, cat$"),
        (empty, r"train has classes without pictures \(.*\.jpeg.*\): cat$"),
        (flat, "val has no folders of classes; its pictures are to lie in .*/val/CLASS$"),
    ],
)
def test_other_trees_are_refused(folder, tmp_path, spoil, reason):
    shutil.copytree(folder, tmp_path / "tree")
    spoil(tmp_path / "tree")
    with pytest.raises(UserError, match=reason):
        read_image_folder(tmp_path / "tree", SMALL, 0)


def test_many_missing_classes_are_counted(tmp_path):
    tree(tmp_path, train=4, val=1)
    for i in range(5):
        shutil.copytree(tmp_path / "val" / "ant", tmp_path / "val" / f"new{i}")
    with pytest.raises(UserError, match=r"elsewhere: new0, new1, new2 and 2 more$"):
        read_image_folder(tmp_path, SMALL, 0)
    with pytest.raises(UserError, match="scaled to 16 pixels cannot be cropped to 20"):
        Framing(resize=16, crop=20)


def test_they_score_as_the_same_pictures_in_memory(folder):
    from separator.tasks.problems.image_objectives import ImageObjective, mean_score

    def score(network, goal, images, batch):
        return mean_score(network, ImageObjective(goal), ImageBatches(images, batch))

    images = read_image_folder(folder, SMALL, 0).test
    pictures, labels = everything(images)
    in_memory = LabelledImages((pictures * 255).round().to(torch.uint8).numpy(), labels.numpy(), "memory")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))
    assert score(network, "classify", images, 4) == score(network, "classify", in_memory, 4)
    wide = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3 * 16 * 16))
    assert score(wide, "reconstruct", images, 4) == score(wide, "reconstruct", in_memory, 4)
