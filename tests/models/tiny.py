"""Files of tiny networks that separate."""

from pathlib import Path
from typing import Any

import torch

from separator.models import ModelCard, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from tests.snn.nets import converted

CONFIG = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
CONVERSION: dict[str, Any] = {
    "window": 4,
    "initial_potential": 0.5,
    "percentile": 99.0,
    "channelwise": False,
    "readout": "rectified",
    "schedule": "pipelined",
}


def network(spiking: bool = False, config: TasNetConfig = CONFIG, weight_bits: int | None = None) -> TasNet:
    """Random weights; made spiking as `CONVERSION` says."""
    torch.manual_seed(1)
    net = TasNet(config).eval()
    if spiking:
        mixture = torch.randn(2, 200)
        converted(net.stack, net.stack_input(net.encode(mixture)), 4, 0.5, weight_bits=weight_bits)
    return net.requires_grad_(False)


def save_tiny(path: Path, spiking: bool, config: TasNetConfig = CONFIG, weight_bits: int | None = None) -> Path:
    """Write one to a file."""
    conversion = CONVERSION | {"weight_bits": weight_bits} if spiking else None
    card = ModelCard("tiny", config.to_dict(), conversion, "a description", "none", "CC0", {"si_sdr": 1.5, "epochs": 2}, 0.5)
    save_model(path, network(spiking, config, weight_bits), card)
    return path
