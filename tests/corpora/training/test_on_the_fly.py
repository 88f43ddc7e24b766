import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from separator.corpora.training.augmentation import AugmentationSettings
from separator.corpora.training.bank import load_bank
from separator.corpora.training.on_the_fly import MixturesOnTheFly
from separator.corpora.training.pairs import PairedTalkers
from separator.corpora.training.plans import Variation
from separator.corpora.training.surroundings import NoiseBank, Rooms
from separator.errors import UserError
from tests.corpora.banks import make_bank

EVERYTHING = AugmentationSettings(speed=0.6, resonances=0.5, equaliser=0.5, pauses=0.3, overlap=0.3, rooms=0.5, noise=0.5)


@pytest.fixture(scope="module")
def bank(synthetic_corpus):
    return load_bank(synthetic_corpus / "train", 8000)


@pytest.fixture(scope="module")
def variation():
    rng = np.random.default_rng(1)
    responses = rng.standard_normal((5, 2, 300)).astype(np.float32) * np.exp(-np.arange(300) / 60).astype(np.float32)
    waves = rng.integers(-32768, 32768, 9000).astype(np.int16)
    noise = NoiseBank(waves, np.array([0, 700, 5000, 9000]), np.full(3, 1 / 32767, np.float32))
    return Variation(EVERYTHING, 8000, Rooms(responses), noise)


def only(variation, **settings):
    """The variation with these settings and no others."""
    return replace(variation, settings=replace(AugmentationSettings(rooms=0, noise=0), **settings))


def paired(n=6):
    return PairedTalkers([make_bank("mf" * n), make_bank("?m" * n, prefix="t", seed=1)], close=0.5)


def decibel(one, other):
    return float(10 * torch.log10(one.square().mean() / other.square().mean()))


@pytest.mark.parametrize(
    ("n_src", "digest"),
    [
        (2, "986c3a389be882df4aa55a5577d256ec56202a6a5d6f821fbe96797d9aad6901"),
        (3, "270bebdf004b0eb1a0269281792e86a0c577be05171a68ba116fa911cbf5c54c"),
    ],
)
def test_plain_mixtures_are_to_the_bit_what_shipped_models_learned_from(n_src, digest):
    """The digests were made before there were any variations."""
    found = hashlib.sha256()
    for sources in MixturesOnTheFly(make_bank("????", utterances=3), 20, 1000, n_src, seed=3, epoch=5):
        found.update(sources.numpy().tobytes())
    assert found.hexdigest() == digest


def test_mixtures_depend_on_seed_epoch_and_index_only(bank):
    first = MixturesOnTheFly(bank, 4, 8000, seed=1, epoch=2)
    again = MixturesOnTheFly(bank, 9, 8000, seed=1, epoch=2)
    assert all(torch.equal(first[i], again[i]) for i in range(4))
    for other in (MixturesOnTheFly(bank, 4, 8000, seed=1, epoch=3), MixturesOnTheFly(bank, 4, 8000, seed=2, epoch=2)):
        assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])


def test_varied_mixtures_do_not_depend_on_order_or_workers(variation):
    items = list(MixturesOnTheFly(paired(), 12, 2000, seed=1, epoch=2, variation=variation))
    assert len({item.numpy().tobytes() for item in items}) == 12
    backwards = MixturesOnTheFly(paired(), 12, 2000, seed=1, epoch=2, variation=variation)
    assert all(torch.equal(backwards[i], items[i]) for i in reversed(range(12)))
    loader = DataLoader(backwards, batch_size=3, num_workers=2)
    assert torch.equal(torch.cat(list(loader)), torch.stack(items))


@pytest.mark.parametrize("n_src", [2, 3])
def test_talkers_differ_and_stand_0_to_5_db_apart(bank, n_src):
    ratios = []
    for sources in MixturesOnTheFly(bank, 60, 16000, n_src):
        assert sources.shape == (n_src, 16000)
        ratios.append(10 * torch.log10(sources[0].square().mean() / sources[1].square().mean()))
        assert torch.corrcoef(sources).fill_diagonal_(0).abs().max() < 0.9
    assert -1.5 < torch.stack(ratios).median() < 6.5  # levels of segments vary around the utterances'
    assert torch.stack(ratios).mean() == pytest.approx(2.5, abs=1.5)


def test_levels_are_drawn_within_their_bounds(variation):
    for levels in (0.0, 5.0, 9.0):
        apart = [decibel(*item) for item in MixturesOnTheFly(flat_bank(), 200, 500, variation=only(variation, levels=levels))]
        assert min(apart) > -0.05 and max(apart) < levels + 0.05
        assert np.mean(apart) == pytest.approx(levels / 2, abs=0.08 * levels + 0.01)


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("name", ["speed", "resonances", "equaliser", "pauses", "overlap", "rooms"])
def test_each_variation_has_its_share(variation, name, share):
    """Of sources of constant power, which none of the other draws changes."""
    count = 300
    items = MixturesOnTheFly(flat_bank(), count, 500, variation=only(variation, **{name: share}))
    if name in {
        "speed",
        "resonances",
        "equaliser",
    }:  # of sources, which are steps from one level to another unless they are varied
        changed = [is_changed(row) for item in items for row in item]
    else:
        changed = [any(map(is_changed, item)) for item in items]
    assert np.mean(changed) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / count))


def flat_bank():
    """Speech of plus and minus one."""
    bank = make_bank("mfmf")
    return replace(bank, waves=np.where(bank.waves < 0, -1, 1).astype(np.int16), scales=np.ones_like(bank.scales))


def is_changed(row):
    """Whether a source is more than speech of plus and minus one, at some level."""
    return len(row.abs().unique()) > 1


def is_scaled(one, other):
    """Whether two waves differ in level only."""
    return abs(float(torch.nn.functional.cosine_similarity(one, other, 0))) > 0.9999


def test_noise_is_a_row_of_its_own_at_its_snr(variation):
    noisy = MixturesOnTheFly(paired(), 100, 2000, variation=only(variation, noise=0.5, snr=(3.0, 8.0)))
    ratios = [decibel(item[:2].sum(0), item[2]) for item in noisy if item[2].any()]
    assert 25 < len(ratios) < 75
    assert 2.99 < min(ratios) < 4 and 7 < max(ratios) < 8.01
    assert all(item.shape == (3, 2000) for item in noisy)


def test_talkers_of_a_mixture_get_the_places_of_one_room(variation):
    """Every source, dry, fits one place of a room; both together, one room."""
    wet = MixturesOnTheFly(paired(), 10, 2000, variation=only(variation, rooms=1.0))
    dry = MixturesOnTheFly(paired(), 10, 2000, variation=only(variation))
    responses = variation.rooms.responses
    places = set()
    for index in range(10):
        rng = np.random.default_rng([0, 0, index])
        chosen = wet.talkers.draw(2, rng)
        banks = wet.talkers.banks
        speech = [banks[corpus].joined(banks[corpus].draw(speaker, 2000, rng)) for corpus, speaker in chosen]
        assert all(is_scaled(torch.from_numpy(x), y) for x, y in zip(speech, dry[index], strict=True))
        found = []
        for source, heard in zip(speech, wet[index], strict=True):
            fits = [
                (room, place)
                for room in range(5)
                for place in (0, 1)
                if is_scaled(torch.from_numpy(np.convolve(source, responses[room, place])[:2000]).float(), heard)
            ]
            assert len(fits) == 1
            found += fits
        assert found[0][0] == found[1][0] and found[0][1] != found[1][1]
        places.add(found[0])
    assert len({place for _, place in places}) == 2 and len(places) > 3


def test_rooms_have_too_few_places_for_three(variation):
    with pytest.raises(UserError, match="2 places each, too few for 3 talkers"):
        MixturesOnTheFly(paired(), 1, 100, 3, variation=variation)


def test_iteration_ends(bank):
    assert len(list(MixturesOnTheFly(bank, 3, 800))) == 3


def test_more_talkers_than_speakers(bank):
    with pytest.raises(UserError, match="as many speakers"):
        MixturesOnTheFly(bank, 1, 800, n_src=1000)
