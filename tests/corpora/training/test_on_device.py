import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfiltfilt
from torch.utils.data import DataLoader

from separator.corpora.training.augmentation import AugmentationSettings, stretched_length
from separator.corpora.training.batched import change_speed
from separator.corpora.training.on_device import BatchesOnDevice, DeviceMixer, DeviceStore, PlansOf, RecordingsOnDevice
from separator.corpora.training.on_the_fly import MixturesOnTheFly
from separator.corpora.training.pairs import PairedTalkers
from separator.corpora.training.plans import Variation
from separator.corpora.training.surroundings import NoiseBank, Rooms
from tests.corpora.banks import make_bank

DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available()]
RATE, SAMPLES, COUNT = 8000, 3000, 24


@pytest.fixture(scope="module")
def talkers():
    """Speakers of two corpora, whose speech has nothing above 0.75 of the highest frequency."""
    banks = [make_bank("mfmf"), make_bank("?m?m", prefix="t", seed=1, utterances=5)]
    low = butter(12, 0.7, output="sos")
    return PairedTalkers([replace(b, waves=np.round(sosfiltfilt(low, b.waves * 0.7)).astype(np.int16)) for b in banks])


@pytest.fixture(scope="module")
def surroundings():
    rng = np.random.default_rng(1)
    responses = rng.standard_normal((5, 3, 300)).astype(np.float32) * np.exp(-np.arange(300) / 60).astype(np.float32)
    waves = rng.integers(-32768, 32768, 9000).astype(np.int16)
    waves[:700] = 0  # a noise that cannot be brought to any level
    return Rooms(responses), NoiseBank(waves, np.array([0, 700, 5000, 9000]), np.full(3, 1 / 32767, np.float32))


def mixtures(talkers, surroundings, n_src=2, **settings):
    """With these settings and no others."""
    variation = Variation(AugmentationSettings(**{"rooms": 0.0, "noise": 0.0, **settings}), RATE, *surroundings)
    return MixturesOnTheFly(talkers, COUNT, SAMPLES, n_src, seed=3, variation=variation)


def on_device(of, device):
    """All items of these mixtures, made there."""
    mixer = DeviceMixer(of.talkers.banks, of.variation, DeviceStore(torch.device(device)))
    return mixer([of.plan(i) for i in range(COUNT)]).cpu()


def apart(one, other):
    """Energy of the difference of rows over that of the row, dB, the largest."""
    energies = other.double().square().sum(-1)
    heard = energies > 0
    assert torch.equal(one.double().square().sum(-1) > 0, heard)
    return float(10 * ((one - other).double().square().sum(-1)[heard] / energies[heard]).clamp_min(1e-30).log10().max())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n_src", [2, 3])
@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"resonances": 0.6}, -100),
        ({"equaliser": 0.6}, -90),
        ({"pauses": 0.5, "overlap": 0.4}, -120),
        ({"rooms": 0.6}, -100),
        ({"noise": 0.6}, -120),
        ({"speed": 0.7, "speed_range": 0.2}, -40),
        (
            {"speed": 0.7, "resonances": 0.6, "equaliser": 0.6, "pauses": 0.4, "overlap": 0.4, "rooms": 0.5, "noise": 0.5},
            -40,
        ),
    ],
)
def test_mixtures_are_those_made_one_by_one(talkers, surroundings, n_src, settings, most, device):
    whole = mixtures(talkers, surroundings, n_src, **settings)
    expected = torch.stack(list(whole))
    found = on_device(whole, device)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert apart(found, expected) < most
    plain = on_device(mixtures(talkers, surroundings, n_src), device)
    assert not torch.equal(found.sum(1), plain.sum(1))


@pytest.mark.parametrize("device", DEVICES)
def test_plain_mixtures_are_the_same_to_the_bit(talkers, surroundings, device):
    whole = mixtures(talkers, surroundings)
    assert torch.equal(on_device(whole, device), torch.stack(list(whole)))


@pytest.mark.parametrize("speed", [0.8, 0.93, 1.0, 1.07, 1.2])
def test_a_sine_is_played_at_another_frequency(speed):
    frequency, length = 700, stretched_length(SAMPLES, speed)
    wave = torch.sin(2 * math.pi * frequency * torch.arange(length, dtype=torch.float64) / RATE)
    played = change_speed(wave.float()[None], torch.tensor([speed]), SAMPLES)[0]
    expected = torch.sin(2 * math.pi * frequency * speed * torch.arange(SAMPLES, dtype=torch.float64) / RATE)
    inside = slice(100, -100)
    assert played.shape == (SAMPLES,)
    torch.testing.assert_close(played[inside], expected.float()[inside], rtol=0, atol=3e-3)


def test_what_is_too_high_to_be_played_faster_is_taken_away():
    wave = torch.sin(2 * math.pi * 3800 * torch.arange(stretched_length(SAMPLES, 1.2)) / RATE)
    played = change_speed(wave[None], torch.tensor([1.2]), SAMPLES)[0]
    assert played[100:-100].abs().max() < 0.02


def test_a_wave_does_not_depend_on_those_beside_it(talkers, surroundings):
    whole = mixtures(talkers, surroundings, speed=0.5, resonances=0.5, equaliser=0.5, rooms=0.5, noise=0.5)
    mixer = DeviceMixer(talkers.banks, whole.variation, DeviceStore(torch.device("cpu")))
    together = on_device(whole, "cpu")
    for i in range(COUNT):
        torch.testing.assert_close(mixer([whole.plan(i)])[0], together[i], rtol=0, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_again(talkers, surroundings, workers):
    whole = mixtures(talkers, surroundings, equaliser=0.5, noise=0.5)
    plans = DataLoader(PlansOf(whole), 5, num_workers=workers, collate_fn=list)
    store = DeviceStore(torch.device("cpu"))
    batches = BatchesOnDevice(plans, lambda: DeviceMixer(talkers.banks, whole.variation, store))
    first, again = list(batches), list(batches)
    assert [len(batch) for batch in first] == [5, 5, 5, 5, 4] and len(batches) == 5
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    torch.testing.assert_close(torch.cat(first), on_device(whole, "cpu"), rtol=0, atol=1e-6)


def test_speech_is_kept_once(talkers, surroundings):
    store = DeviceStore(torch.device("cpu"))
    one, other = (DeviceMixer(talkers.banks, Variation(), store) for _ in range(2))
    part = [bank.among({bank.voices[0].name}) for bank in talkers.banks]  # as speakers held out are
    assert one.speech is other.speech is DeviceMixer(part, Variation(), store).speech
    assert one.speech.samples.dtype == torch.int16
    assert one.speech.samples.numel() == sum(len(bank.waves) for bank in talkers.banks)
    assert DeviceMixer(talkers.banks[:1], Variation(), store).speech is one.speech and len(store.kept) == 1
    assert DeviceMixer([make_bank("mf"), *talkers.banks], Variation(), store).speech is not one.speech


def test_parts_of_recordings_are_joined(talkers):
    rng = np.random.default_rng(0)
    banks = talkers.banks
    kept = RecordingsOnDevice([bank.waves for bank in banks], torch.device("cpu"))
    drawn = [(banks[i % 2], banks[i % 2].draw(i % 4, 200 + 900 * i, rng)) for i in range(8)]
    joined = kept.joined([(bank.waves, cut) for bank, cut in drawn])
    assert joined.shape == (8, 6500)
    for row, (bank, cut) in zip(joined.numpy(), drawn, strict=True):
        expected = bank.joined(cut)
        assert np.array_equal(row[: len(expected)], expected) and not row[len(expected) :].any()
    assert kept.joined([(bank.waves, cut) for bank, cut in drawn[:2]], 1200).shape == (2, 1200)


def test_room_on_a_gpu(talkers, monkeypatch):
    waves = [bank.waves for bank in talkers.banks]
    needed = sum(wave.nbytes for wave in waves)
    store = DeviceStore(torch.device("cpu"))
    for free, fits in ((2 * needed, False), (2 * needed + 1, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * free))
        assert store.has_room([*waves, *waves]) == fits
    store.recordings(waves)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    assert store.has_room(waves) and store.has_room(waves[:1]) and not store.has_room([waves[0].copy()])
