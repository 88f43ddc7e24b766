import copy

import pytest
import torch
from torch import nn

from separator.tasks.learning.optimisers import Muon, make_optimiser, orthogonalised


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_singular_values_are_driven_towards_one(shape, kind, monkeypatch):
    monkeypatch.setattr("separator.tasks.learning.optimisers._fast_type", lambda device: kind)
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalised(torch.randn(3, *shape)))
    assert values.min() > 0.4 and values.max() < 1.3


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
@pytest.mark.parametrize("spread", [0, 5])
def test_it_is_the_iteration_of_jordan_et_al(shape, spread):
    """Of each matrix by itself, whatever the size of its singular values: down to 10^-spread of the largest one."""
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(3, *shape, dtype=torch.float64), full_matrices=False)
    values *= torch.logspace(0, -spread, values.shape[1], dtype=torch.float64)
    expected = values / values.norm(dim=1, keepdim=True)
    for _ in range(5):
        expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5
    found = orthogonalised((left @ values.diag_embed() @ right).float())
    torch.testing.assert_close(found.double(), left @ expected.diag_embed() @ right, rtol=0, atol=1e-3)


@pytest.mark.parametrize("left", [1e-12, 1e-20, 1e-40])
def test_channels_that_no_longer_learn_are_as_if_they_never_had(left):
    """Momentum that has died away, in a row or a column, changes no update of the others, and is none: nothing fades on."""
    torch.manual_seed(0)
    silent = torch.randn(2, 6, 20)
    silent[:, 2], silent[:, :, 5] = 0, 0
    fading = silent.clone()
    fading[:, 2], fading[:, :, 5] = left, left
    assert orthogonalised(fading).equal(orthogonalised(silent))


def step(optimisers, network, x):
    for _ in range(5):
        network.zero_grad()
        network(x).square().mean().backward()
        for optimiser in optimisers:
            optimiser.step()


def test_updates_are_those_of_torch():
    """On matrices, torch.optim.Muon with Moonlight's scale; on the rest, torch.optim.Adam."""
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 4))
    theirs = copy.deepcopy(ours)
    x = torch.randn(16, 12)

    def split(network):
        return [p for p in network.parameters() if p.ndim == 2], [p for p in network.parameters() if p.ndim == 1]

    step([Muon(*split(ours), lr=0.01)], ours, x)
    matrices, others = split(theirs)
    muon = torch.optim.Muon(matrices, lr=0.01, weight_decay=0.0, momentum=0.95, nesterov=True, adjust_lr_fn="match_rms_adamw")
    step([muon, torch.optim.Adam(others, lr=0.01)], theirs, x)
    for a, b in zip(*map(split, (ours, theirs)), strict=True):
        for p, q in zip(a, b, strict=True):
            # torch's iterates in bfloat16
            assert torch.allclose(p, q, atol=2e-3 if p.ndim == 2 else 1e-4)


def test_convolutions_are_matrices_of_output_by_rest():
    torch.manual_seed(0)
    convolution, linear = nn.Conv1d(4, 6, 3, bias=False), nn.Linear(12, 6, bias=False)
    with torch.no_grad():
        linear.weight.copy_(convolution.weight.flatten(1))
    gradient = torch.randn(6, 12)
    for layer in (convolution, linear):
        layer.weight.grad = gradient.view_as(layer.weight).clone()
        Muon([layer.weight], [], lr=0.1).step()
    assert torch.allclose(convolution.weight.flatten(1), linear.weight)


def test_under_adam_weights_decay_as_those_of_torch_and_biases_do_not():
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv1d(3, 5, 2), nn.Tanh(), nn.Flatten(), nn.Linear(25, 4))
    theirs, without = copy.deepcopy(ours), copy.deepcopy(ours)
    x = torch.randn(16, 3, 6)

    def added():
        """The penalty whose gradient is 0.3 times each weight."""
        return sum(0.3 / 2 * layer.weight.square().sum() for layer in (theirs[0], theirs[3]))

    optimiser = torch.optim.Adam(theirs.parameters(), 0.01)
    for _ in range(5):
        theirs.zero_grad()
        (theirs(x).square().mean() + added()).backward()
        optimiser.step()
    step([make_optimiser("adam", dict(ours.named_parameters()), 0.01, weight_decay=0.3)], ours, x)
    step([make_optimiser("adam", dict(without.named_parameters()), 0.01)], without, x)
    for mine, other, plain in zip(ours.parameters(), theirs.parameters(), without.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6) and not torch.allclose(mine, plain, atol=1e-3)
