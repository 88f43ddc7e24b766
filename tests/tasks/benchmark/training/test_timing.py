import time
from dataclasses import replace

import pytest
import torch

from separator.corpora.training import on_the_fly
from separator.corpora.training.pairs import AnyTalkers
from separator.models import tasnet
from separator.models.tasnet import TasNet
from separator.tasks.benchmark.measurement import BenchmarkCase
from separator.tasks.benchmark.training import timing
from separator.tasks.benchmark.training.mixtures import noise_mixtures
from separator.tasks.benchmark.training.timing import measure_training
from separator.tasks.learning import optimisers
from separator.tasks.learning.module import LearningModule
from separator.tasks.learning.optimisers import Muon
from separator.tasks.learning.run.averaging import AveragedWeights
from separator.tasks.problems.separation_loss import pit_loss

TINY = BenchmarkCase("small", 0.1, 1, width=8, batch=2)
PARTS = ("forward", "backward", "optimiser", "mixing", "varied")
NAP = 0.3  # s, much longer than anything else here takes


@pytest.fixture
def trained(monkeypatch):
    """What was trained."""
    made = []

    class Kept(LearningModule):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(timing, "LearningModule", Kept)
    return made


def by_hand(config, batch, steps, dtype):
    """The average of the weights after so many steps, without Lightning."""
    torch.manual_seed(0)
    network = TasNet(config).train()
    named = dict(network.named_parameters())
    matrices = [p for key, p in named.items() if p.ndim > 1 and key.split(".")[0] in ("stack", "mask")]
    optimiser = Muon(matrices, [p for p in named.values() if not any(p is matrix for matrix in matrices)])
    average = {}
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 0.005 * (step + 1) / 200
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            loss = pit_loss()(network(batch.sum(1)).float(), batch[:, :2])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        keep = (1 + step) / (10 + step) if step else 0.0
        average = {key: keep * average.get(key, 0.0) + (1 - keep) * p.detach() for key, p in named.items()}
    return average


@pytest.mark.parametrize("system", ["small", "bf16:small"])
def test_steps_are_those_of_the_training(system, trained, monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", 4)
    measure_training(replace(TINY, system=system))
    config = replace(tasnet.small(), filters=8, channels=8)
    mixtures = noise_mixtures(config, 0.1, 2, varied=True)
    batch = torch.stack([mixtures[0], mixtures[1]])
    found = {key: p.detach() for key, p in trained[0].network.named_parameters()}
    in_32_bits, in_16_bits = (by_hand(config, batch, 4, kind) for kind in (torch.float32, torch.bfloat16))
    average, other = (in_16_bits, in_32_bits) if system == "bf16:small" else (in_32_bits, in_16_bits)
    assert found.keys() == average.keys()
    for key in found.keys() - {"norm.bias"}:  # which batch norm takes away: Adam follows what rounding leaves of its gradient
        assert torch.allclose(found[key], average[key], atol=1e-6)
    assert not torch.allclose(found["encoder.weight"], other["encoder.weight"], atol=1e-5)


def slowed(function, calls=1):
    def slow(*arguments, **options):
        result = function(*arguments, **options)
        time.sleep(NAP / calls)
        return result

    return slow


@pytest.mark.parametrize(
    ("owner", "name", "calls", "part"),
    [
        (TasNet, "forward", 1, "forward"),
        (torch.Tensor, "backward", 1, "backward"),
        (torch.nn.utils, "clip_grad_norm_", 1, "optimiser"),
        (optimisers, "orthogonalised", 3, "optimiser"),  # of the first layer, the other ten and the mask
        (AveragedWeights, "on_train_batch_end", 1, "optimiser"),
        (AnyTalkers, "draw", 2, "mixing"),
        (on_the_fly, "at_snr", 2, "varied"),
    ],
)
def test_time_counts_where_it_is_taken(owner, name, calls, part, monkeypatch):
    monkeypatch.setattr(timing, "LONG", 1e-6)
    monkeypatch.setattr(owner, name, slowed(getattr(owner, name), calls))
    taken = measure_training(TINY)
    assert taken[part] > 0.99 * NAP
    assert all(taken[other] < 0.8 * NAP for other in PARTS if other != part)
    assert taken["elapsed"] == pytest.approx(taken["forward"] + taken["backward"] + taken["optimiser"])


@pytest.mark.parametrize(("limits", "steps"), [({"ROUNDS": 3}, 3), ({"LONG": 1e-6}, 2)])
def test_rounds_end(limits, steps, trained, monkeypatch):
    for name, value in limits.items():
        monkeypatch.setattr(timing, name, value)
    measure_training(TINY)
    assert trained[0].heard.hours * 3600 == pytest.approx(steps * 2 * 0.1)
