from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.models.card import ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.tasnet import TasNet, TasNetConfig
from separator.tasks.problems.mixture_data import DataSettings
from separator.tasks.problems.separation_loss import SeparationObjective, improvement, pit_loss
from separator.tasks.problems.speech import Speech
from tests.tasks.mixture_sets import make_set

TINY = TasNetConfig(filters=32, filter_length=16, channels=8, dilations=(1, 2))


def si_sdr(estimate, source):
    """Eq. 14 in double precision."""
    estimate, source = (x - x.mean() for x in (estimate, source))
    target = (estimate @ source) / (source @ source) * source
    return 10 * np.log10((target @ target) / ((target - estimate) @ (target - estimate)))


def test_loss_is_the_best_permutations_si_sdr():
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(3, 2, 500))
    estimates = sources[:, ::-1] + 0.3 * rng.normal(size=sources.shape) + 0.1
    best = np.mean(
        [
            max(np.mean([si_sdr(e[p[i]], s[i]) for i in (0, 1)]) for p in ((0, 1), (1, 0)))
            for e, s in zip(estimates, sources, strict=True)
        ]
    )
    loss = pit_loss()(torch.from_numpy(estimates.copy()), torch.from_numpy(sources))
    assert float(loss) == pytest.approx(-best, abs=1e-4)
    mixture = sources.sum(1)
    unprocessed = np.mean([si_sdr(m, s[i]) for m, s in zip(mixture, sources, strict=True) for i in (0, 1)])
    gain = improvement(loss, torch.from_numpy(mixture), torch.from_numpy(sources))
    assert float(gain) == pytest.approx(best - unprocessed, abs=1e-4)


def test_losses_are_told_in_32_bits_where_networks_run_in_16():
    """In bfloat16 there is nothing between 3.5 and 3.515625 dB."""
    objective, batch = SeparationObjective(2, 8000), torch.randn(3, 2, 500)

    class Fixed(nn.Linear):
        def forward(self, mixture):
            return torch.stack([mixture, 0.5 * mixture + 0.1 * mixture.roll(1)], 1)

    plain = objective.loss(Fixed(1, 1), batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(objective.loss(Fixed(1, 1), batch), plain)


@pytest.fixture
def speech(synthetic_corpus):
    folders = (synthetic_corpus / "train", synthetic_corpus / "dev")
    return Speech(DataSettings(*folders, segment=0.5, epoch_mixtures=12, dev_mixtures=6, batch=4), TINY)


def test_result_is_the_mean_improvement_over_all_dev_mixtures(speech):
    torch.manual_seed(0)
    network = TasNet(TINY).eval()
    data = speech.open(network, seed=3)
    improvements = []
    with torch.no_grad():
        for batch in data.dev_loader():
            for sources in batch.double().numpy():
                mixture = sources.sum(0)
                estimates = network(torch.from_numpy(mixture).float()[None])[0].double().numpy()
                pairs = [np.mean([si_sdr(estimates[p[i]], sources[i]) for i in (0, 1)]) for p in ((0, 1), (1, 0))]
                improvements.append(max(pairs) - np.mean([si_sdr(mixture, source) for source in sources]))
    assert len(improvements) == 6
    assert speech.result(network, ModelCard("ann", {}), data) == pytest.approx(np.mean(improvements), abs=1e-3)


def test_hours_are_those_of_whole_batches_of_mixtures(speech):
    for batch, mixtures in ((4, 12), (5, 10)):
        data = replace(speech.data, batch=batch)
        assert replace(speech, data=data).open(TasNet(TINY), seed=3).epoch_seconds == mixtures * 0.5
    assert SeparationObjective(sample_rate=8000).seconds(torch.zeros(4, 3, 4000)) == 2.0


def test_an_epoch_of_mixtures_on_disk_is_all_segments_that_whole_batches_of_them_hold(speech, tmp_path):
    make_set(tmp_path / "set", ["mf", "ff", "mm"], seconds=1.5)  # three segments each, nine of which make two batches of four
    data = replace(speech, data=replace(speech.data, train=tmp_path / "set")).open(TasNet(TINY), seed=3)
    heard = sum(speech.objective.seconds(batch) for batch in data.train(0))
    assert data.epoch_seconds == heard == 8 * 0.5


@pytest.mark.parametrize("rate", [8, 999, 384_001])
def test_networks_are_for_rates_that_model_files_may_have(speech, rate):
    with pytest.raises(UserError, match=f"network.sample_rate is 1000 to 384000 Hz, not {rate}"):
        replace(speech, network=replace(TINY, sample_rate=rate)).new_network()


def test_it_is_for_networks_that_separate(speech):
    wide = TasNet(TasNetConfig(filters=16, filter_length=16, channels=4, dilations=(1,)))
    assert speech.of_model(wide, ModelCard("x", {})).network == wide.config
    with pytest.raises(UserError, match="digits is no network that separates talkers"):
        speech.of_model(FeedForward(FeedForwardConfig("9-10")), ModelCard("digits", {}, architecture="feedforward"))
