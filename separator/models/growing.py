"""Networks that begin as what another one has learned: larger ones, and those that see nothing of the future.

A larger one computes what the smaller one does, so that training goes on without a jump. A further layer with an identity skip
adds nothing while the gain of its norm is zero, a = ReLU(x + 0) = x, as activations are rectified; further channels are seen by
none of the old ones at first. A causal one computes what the other would if its weights for later frames were zero.
"""

from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.layers.analog import AnalogLayer


def grown(network: TasNet, config: TasNetConfig) -> TasNet:
    """A network of sizes `config` that computes what `network` does, what it sees of the future left out if it is to be causal.

    Other weights are drawn.

    Args:
        network: analog.
        config: its sizes, but for more channels, and for further layers behind those with dilations or behind those that look
            back; causal, too, where it is not.

    Raises:
        UserError: other sizes differ, or are less; or there are further layers, which have no skips or are not rectified.
    """
    _check(network.config, config)
    larger, old = TasNet(config), dict(zip(_places(network.config), network.stack.layers, strict=True))
    for place, layer in zip(_places(config), larger.stack.layers, strict=True):
        if place in old:
            _take(layer, old[place])
            if config.causal and not network.config.causal and place[0] == "dilations":
                _leave_future_out(layer)
        else:
            assert isinstance(layer, AnalogLayer) and layer.norm is not None
            nn.init.zeros_(layer.norm.weight)
    for part in ("encoder", "norm", "mask", "decoder"):
        _take(getattr(larger, part), getattr(network, part))
    return larger


def _check(old: TasNetConfig, new: TasNetConfig) -> None:
    before, after = asdict(old), asdict(new)
    free = ("channels", "dilations", "look_back", *(["causal"] if new.causal else []))
    other = [name for name in before if name not in free and after[name] != before[name]]
    differing = [f"{name} {after[name]} in place of {before[name]}" for name in other]
    if new.channels < old.channels:
        differing.append(f"{new.channels} channels in place of {old.channels}")
    for name in ("dilations", "look_back"):
        if after[name][: len(before[name])] != before[name]:
            differing.append(f"{name} that do not begin with {list(before[name])}")
    if differing:
        raise UserError(
            f"it grows by more channels, dilations and look_back alone, or becomes causal, not by {' and '.join(differing)}"
        )
    if len(_places(new)) > len(_places(old)) and (new.slope or not new.skips):
        raise UserError("it grows by layers only where these have skips, and a slope of 0")


def _places(config: TasNetConfig) -> list[tuple[str, int]]:
    """Which layer of the stack is which, whatever its length."""
    runs = {"first": 1, "dilations": len(config.dilations), "look_back": len(config.look_back)}
    return [(name, number) for name, count in runs.items() for number in range(count)]


@torch.no_grad()
def _leave_future_out(layer: nn.Module) -> None:
    """Put the weights of a centred kernel where a causal one, which ends with the present frame, has the same frames."""
    assert isinstance(layer, AnalogLayer)
    weight = layer.affine.weight
    centre = weight.shape[-1] // 2
    past = weight[..., : centre + 1].clone()
    weight.zero_()[..., centre:] = past


@torch.no_grad()
def _take(part: nn.Module, old: nn.Module) -> None:
    """Put a smaller part's numbers in the first places; what old outputs see of new inputs is zero."""
    smaller: Mapping[str, Tensor] = old.state_dict()
    for name, numbers in part.state_dict().items():
        before = smaller[name]
        if numbers.dim() > 1:
            numbers[: len(before)] = 0
        numbers[tuple(slice(size) for size in before.shape)] = before
