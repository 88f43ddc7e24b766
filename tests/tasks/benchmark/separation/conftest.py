"""A tiny spiking network, and noise to run it on."""

import numpy as np
import pytest
import torch

from separator.models.tasnet import TasNet, TasNetConfig
from tests.snn.nets import converted


@pytest.fixture
def network():
    config = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
    network = TasNet(config).eval().requires_grad_(False)
    converted(network.stack, network.stack_input(network.encode(torch.randn(2, 400))), 4, 0.5, weight_bits=8)
    return network


@pytest.fixture
def noise():
    """Mixture (T,)."""
    return np.random.default_rng(0).normal(0, 0.1, 1000).astype(np.float32)
