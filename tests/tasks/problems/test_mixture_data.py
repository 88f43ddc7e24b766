import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from separator.corpora.training.augmentation import AugmentationSettings
from separator.corpora.training.bank import load_bank
from separator.corpora.training.from_disk import MixturesFromDisk
from separator.corpora.training.on_device import BatchesOnDevice, DeviceStore
from separator.corpora.training.on_the_fly import MixturesOnTheFly
from separator.corpora.training.pairs import AnyTalkers, PairedTalkers
from separator.errors import UserError
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.conversion.settings import ConversionSettings
from separator.tasks.learning.conversion import conversion_engine
from separator.tasks.learning.settings import MachineSettings, OptimiserSettings, TrainingSettings
from separator.tasks.learning.training import train
from separator.tasks.problems.mixture_data import DEV_SEED, DataSettings, MixtureData
from separator.tasks.problems.separation_loss import SeparationObjective, mixture_and_sources, pit_loss
from separator.tasks.problems.speech import Speech

TINY = TasNetConfig(filters=32, filter_length=16, channels=8, dilations=(1, 2))
SEGMENT = 0.25  # s


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """A file of rooms and a folder of noises."""
    folder, rng = tmp_path_factory.mktemp("surroundings"), np.random.default_rng(0)
    np.savez(folder / "rooms.npz", rir=rng.standard_normal((6, 200)).astype(np.float16))
    (folder / "noise").mkdir()
    soundfile.write(folder / "noise" / "hiss.wav", rng.integers(-999, 999, 3000).astype(np.int16), 8000)
    return folder


@pytest.fixture
def settings(synthetic_corpus):
    """Two corpora of four and two speakers."""
    folders = [synthetic_corpus / "train", synthetic_corpus / "test"]
    return DataSettings(folders, synthetic_corpus / "dev", segment=SEGMENT, epoch_mixtures=12, dev_mixtures=6, batch=4)


@pytest.fixture
def noisy(settings, surroundings):
    return replace(
        settings,
        close_pairs=0.5,
        augment=AugmentationSettings(speed=0.5, resonances=0.5, equaliser=0.5, pauses=0.3, overlap=0.3, rooms=0.5, noise=0.5),
        rooms=surroundings / "rooms.npz",
        noise=surroundings / "noise",
    )


def data(settings, seed=0):
    return MixtureData(settings, TINY, seed)


def all_of(loader):
    return torch.cat(list(loader))


@pytest.mark.parametrize("several", [False, True])
def test_one_corpus_is_mixed_as_ever(synthetic_corpus, settings, several):
    folder = synthetic_corpus / "train"
    plain = data(replace(settings, train=[folder] if several else folder), seed=3)
    expected = MixturesOnTheFly(load_bank(folder, 8000), 12, 2000, seed=3, epoch=0)
    assert torch.equal(all_of(plain.train(0)), torch.stack(list(expected)))
    dev = MixturesOnTheFly(load_bank(synthetic_corpus / "dev", 8000), 6, 2000, seed=DEV_SEED)
    assert torch.equal(all_of(plain.dev()["dev"]), torch.stack(list(dev)))


def test_each_epoch_and_layer_has_mixtures_of_its_own(noisy):
    whole = data(noisy)
    layers = [all_of(whole.layer(layer)) for layer in (0, 1, 0)]
    assert torch.equal(layers[0], layers[2]) and not torch.equal(layers[0], layers[1])
    assert torch.equal(all_of(whole.train(0)), layers[0])
    assert torch.equal(all_of(whole.train(1)), layers[1])
    workers = data(replace(noisy, workers=2))
    assert torch.equal(all_of(workers.layer(1)), layers[1])


def test_mixtures_made_on_the_device_are_the_same_but_for_rounding(noisy):
    varied = replace(noisy, held_out=[2, 0], augment=replace(noisy.augment, speed=0.0))
    usual, there = data(varied), data(replace(varied, mixing="device"))
    pairs = [(usual.train(1), there.train(1)), (usual.layer(2), there.layer(2)), (usual.calibration(2), there.calibration(2))]
    pairs += [(usual.dev()[name], there.dev()[name]) for name in ("dev", "held_out")]
    for one, other in pairs:
        assert isinstance(one, DataLoader) and isinstance(other, BatchesOnDevice) and len(one) == len(other)
        torch.testing.assert_close(all_of(other), all_of(one), rtol=0, atol=1e-5)
    assert there.epoch_seconds == usual.epoch_seconds
    assert len(there.store.kept) == 3  # speech, that of the dev set, and the noises


def test_what_is_made_on_the_device(noisy, mixtures, monkeypatch):
    for room, mixing, device, there in (
        (True, "auto", "cpu", False),
        (True, "cpu", "cuda", False),
        (False, "auto", "cuda", False),
        (True, "auto", "cuda", True),
        (False, "device", "cuda", True),
        (False, "device", "cpu", True),
    ):
        monkeypatch.setattr(DeviceStore, "has_room", lambda store, arrays, room=room: room)
        whole = MixtureData(replace(noisy, mixing=mixing), TINY, 0, device=device)
        assert isinstance(whole.train(0), BatchesOnDevice) == isinstance(whole.dev_loader(), BatchesOnDevice) == there
    on_disk = replace(noisy, train=mixtures, close_pairs=None, augment=AugmentationSettings(), rooms=None, noise=None, batch=1)
    assert isinstance(data(replace(on_disk, mixing="device")).train(0), DataLoader)
    with pytest.raises(UserError, match=r"which mps has none of; leave out --data\.mixing device"):
        MixtureData(replace(noisy, mixing="device"), TINY, 0, device="mps")


def test_training_goes_on_with_mixtures_made_elsewhere(noisy, tmp_path):
    options = OptimiserSettings(lr=3e-3, max_epochs=1), MachineSettings(devices=1)
    first = TrainingSettings(Speech(replace(noisy, mixing="device"), TINY), *options, device="cpu", threads=1)
    train(first, tmp_path, progress=False)
    second = replace(first, problem=Speech(noisy, TINY), optimiser=replace(first.optimiser, max_epochs=2))
    train(second, tmp_path, progress=False)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 1


def test_noise_is_a_row_of_training_batches_only(noisy):
    assert all_of(data(noisy).train(0)).shape == (12, 3, 2000)
    assert all_of(data(noisy).dev_loader()).shape == (6, 2, 2000)
    without = replace(noisy, noise=None, augment=replace(noisy.augment, noise=0.1))
    assert all_of(data(without).train(0)).shape == (12, 2, 2000)


def test_who_talks(settings, synthetic_corpus):
    train, test = settings.train
    assert isinstance(data(replace(settings, train=train))._talkers[0], AnyTalkers)
    several = data(settings)._talkers[0]
    assert isinstance(several, PairedTalkers) and [len(bank.voices) for bank in several.banks] == [4, 2]
    assert all(np.isnan(voice.pitch) for bank in several.banks for voice in bank.voices)  # not measured where it is not needed
    close = data(replace(settings, train=train, close_pairs=0.5))._talkers[0]
    assert isinstance(close, PairedTalkers) and all(60 < voice.pitch < 500 for voice in close.banks[0].voices)
    alone = data(replace(settings, weights=[0.0, 1.0]))._talkers[0]
    assert isinstance(alone, PairedTalkers) and alone.banks[0].name == str(test)


def test_speakers_held_out_are_a_dev_set_of_their_own(settings, synthetic_corpus):
    held = data(replace(settings, held_out=[2, 0]))
    train, out = held._talkers
    names = [{voice.name for bank in part.banks for voice in bank.voices} for part in (train, replaced(out))]
    assert [len(part) for part in names] == [4, 2] and not names[0] & names[1]
    dev, own = held.dev()["dev"], held.dev()["held_out"]
    assert torch.equal(all_of(dev), all_of(data(settings).dev()["dev"]))
    batches = all_of(own)
    assert batches.shape == (6, 2, 2000) and torch.equal(batches, all_of(held.dev()["held_out"]))


def replaced(talkers):
    """What has banks: talkers of one corpus have a single one."""
    return talkers if isinstance(talkers, PairedTalkers) else PairedTalkers(talkers.banks)


def test_training_with_everything(noisy, tmp_path):
    settings = TrainingSettings(
        Speech(replace(noisy, held_out=[2, 0]), TINY),
        OptimiserSettings(lr=3e-3, max_epochs=2, activity_penalty=1.0),
        MachineSettings(devices=1),
        device="cpu",
        threads=1,
    )
    train(settings, tmp_path, progress=False)
    rows = np.genfromtxt(tmp_path / "csv" / "version_0" / "metrics.csv", delimiter=",", names=True)
    for name in (
        "dev_loss",
        "dev_SISDRi",
        "dev_activity",
        "held_out_loss",
        "held_out_SISDRi",
        "held_out_activity",
        "train_loss",
        "train_SISDRi",
    ):
        assert np.isfinite(rows[name]).sum() == 2, name
    assert not any("dataloader" in name for name in rows.dtype.names)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    network = TasNet(TINY)
    state = checkpoint["state_dict"].items()
    network.load_state_dict({key.removeprefix("network."): value for key, value in state if key.startswith("network.")})
    network.eval()
    for name, loader in data(settings.problem.data).dev().items():
        with torch.no_grad():
            losses = [(len(batch), float(pit_loss()(network(batch.sum(1)), batch))) for batch in loader]
        mean = sum(size * loss for size, loss in losses) / sum(size for size, _ in losses)
        assert rows[f"{name}_loss"][np.isfinite(rows[f"{name}_loss"])][-1] == pytest.approx(mean, abs=1e-4)


def test_conversion_learns_to_find_talkers_in_noise(noisy, tmp_path):
    torch.manual_seed(0)
    network, whole = TasNet(TINY).eval(), data(noisy)
    engine = conversion_engine(network, SeparationObjective(), whole.layer, whole.dev_loader(), ConversionSettings(4, 0.5))
    batch = next(iter(whole.layer(0)))
    mixture, sources = mixture_and_sources(batch, 2)
    with torch.no_grad():
        loss = float(engine.loss(network, batch))
        assert loss == pytest.approx(float(pit_loss()(network(mixture), sources)), abs=1e-5)


@pytest.fixture
def mixtures(tmp_path):
    folder = tmp_path / "set"
    for name in ("mix", "s1", "s2"):
        (folder / name).mkdir(parents=True)
        soundfile.write(folder / name / "one.wav", np.ones(2000, np.int16), 8000)
    return folder


def test_mixtures_on_disk_are_taken_as_they_are(settings, mixtures):
    for folder in (mixtures, [mixtures]):
        assert isinstance(data(replace(settings, train=folder))._train_mixtures(0), MixturesFromDisk)


def test_mixtures_on_disk_of_another_number_of_talkers_are_refused(settings, mixtures):
    (mixtures / "s3").mkdir()
    soundfile.write(mixtures / "s3" / "one.wav", np.ones(2000, np.int16), 8000)
    for changed in (replace(settings, train=mixtures), replace(settings, dev=mixtures)):
        with pytest.raises(UserError, match=r"has mixtures of 3 talkers; take some of 2, or give --network\.n_src"):
            data(changed).train(0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": [1.0]}, "1 weights for 2 corpora"),
        ({"weights": [0.0, 0.0]}, "one of them above 0"),
        ({"close_pairs": 2.0}, "at least 0 and at most 1"),
        ({"held_out": 0.9}, "leaves 0 speakers of"),
        ({"held_out": 0.1}, "holds out 0 speakers of"),
        ({"held_out": [0, 0, 0]}, "3 values of held_out for 2 corpora"),
        ({"noise": "absent"}, "give --data.noise a folder"),
        ({"rooms": "absent"}, "give --data.rooms an npz file"),
        ({"augment": AugmentationSettings(rooms=0.5)}, r"augment\.rooms 0\.5 needs --data\.rooms"),
        ({"augment": AugmentationSettings(noise=1.0)}, r"augment\.noise 1 needs --data\.noise"),
        ({"train": []}, "data.train names no folder"),
    ],
)
def test_options_that_make_no_sense(settings, tmp_path, options, words):
    options = {name: tmp_path / value if value == "absent" else value for name, value in options.items()}
    with pytest.raises(UserError, match=words) as raised:
        data(replace(settings, **options)).train(0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": [1.0]}, "1 weights for 2 corpora"),
        ({"noise": "absent"}, "give --data.noise a folder"),
        ({"rooms": "absent"}, "give --data.rooms an npz file"),
        ({"train": "two"}, "there is no folder"),
        ({"dev": "absent"}, "there is no folder"),
        ({"dev": "broken"}, "recordings are missing"),
    ],
)
def test_mistakes_are_found_before_any_corpus_is_read(settings, tmp_path, monkeypatch, options, words):
    def load_bank(*_):
        pytest.fail("a corpus was read")

    monkeypatch.setattr("separator.tasks.problems.mixture_data.load_bank", load_bank)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "wav.scp").write_text("a a.wav\nb b.wav\n")
    (broken / "utt2spk").write_text("a one\nb two\n")
    places = {"absent": tmp_path / "absent", "broken": broken, "two": [settings.train[0], tmp_path / "absent"]}
    options = {name: places[value] if isinstance(value, str) else value for name, value in options.items()}
    with pytest.raises(UserError, match=words):
        data(replace(settings, **options)).train(0)


@pytest.mark.parametrize("share", [0.0, AugmentationSettings().rooms])
def test_no_share_and_the_usual_one_need_no_rooms_and_no_noise(settings, share):
    without = data(replace(settings, augment=AugmentationSettings(rooms=share, noise=share))).train(0)
    assert torch.equal(all_of(without), all_of(data(settings).train(0)))


def test_corpora_that_do_not_fit(settings, mixtures, tmp_path):
    train = settings.train[0]
    for folders, words in (
        ([train, tmp_path / "absent"], "there is no folder"),
        ([train, mixtures], "is not a Kaldi data folder"),
        (tmp_path / "absent", "there is no folder"),
    ):
        with pytest.raises(UserError, match=words):
            data(replace(settings, train=folders)).train(0)
    with pytest.raises(UserError, match=r"taken as they are; leave out data options: held_out, close_pairs"):
        data(replace(settings, train=mixtures, held_out=0.5, close_pairs=0.5)).train(0)
    other = tmp_path / "other"
    (other / "audio").mkdir(parents=True)
    for i in (0, 1):
        soundfile.write(other / "audio" / f"{i}.wav", np.ones(16000, np.int16), 16000)
    (other / "wav.scp").write_text("a audio/0.wav\nb audio/1.wav\n")
    (other / "utt2spk").write_text("a one\nb two\n")
    with pytest.raises(UserError, match="16000 Hz, not 8000 Hz"):
        data(replace(settings, train=[train, other])).train(0)


def test_a_corpus_without_genders(settings, tmp_path):
    folder = tmp_path / "train"
    shutil.copytree(settings.train[0], folder)
    (folder / "spk2gender").unlink()
    talkers = data(replace(settings, train=folder, close_pairs=0.5))._talkers[0]
    assert [len(pool) for pool in talkers.pools[0][1]] == [4]
    assert all_of(data(replace(settings, train=folder, close_pairs=0.5)).train(0)).shape == (12, 2, 2000)
