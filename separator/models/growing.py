"""Networks that begin as what another one has learned: larger ones, those blind to the future, those of longer frames.

A larger one computes what the smaller one does, so that training goes on without a jump. A further layer with an identity skip
adds nothing while the gain of its norm is zero, a = ReLU(x + 0) = x, as activations are rectified; further channels are seen by
none of the old ones at first. A causal one computes what the other would if its weights for later frames were zero. One of
longer frames, fewer a second, hears the middle of each at first, and its layers see as many seconds around as they did.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace

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
            back; causal, too, where it is not. With frames F times as long, for whole F, it has dilations of one F-th, and is
            without the layers whose dilation is no multiple of F. It then does not compute the same.

    Raises:
        UserError: other sizes differ, or are less; or there are further layers, which have no skips or are not rectified.
    """
    times = max(1, config.filter_length // network.config.filter_length)
    lengthened = _lengthened(network.config, times)
    _check(lengthened, config)
    spans = (0, *network.config.dilations, *network.config.look_back)
    kept = [layer for layer, span in zip(network.stack.layers, spans, strict=True) if span % times == 0]
    larger, old = TasNet(config), dict(zip(_places(lengthened), kept, strict=True))
    for place, layer in zip(_places(config), larger.stack.layers, strict=True):
        if place in old:
            _take(layer, old[place])
            if config.causal and not network.config.causal and place[0] == "dilations":
                _leave_future_out(layer)
        else:
            assert isinstance(layer, AnalogLayer) and layer.norm is not None
            nn.init.zeros_(layer.norm.weight)
    for part in ("norm", "mask"):
        _take(getattr(larger, part), getattr(network, part))
    _put_in_the_middle(larger.encoder.weight, network.encoder.weight, axis=1)
    _put_in_the_middle(larger.decoder.weight, network.decoder.weight, axis=0)
    return larger


def _lengthened(config: TasNetConfig, times: int) -> TasNetConfig:
    """Sizes with frames `times` as long, whose layers see as many seconds around; those that cannot are left out."""
    dilations, look_back = (
        tuple(dilation // times for dilation in before if dilation % times == 0)
        for before in (config.dilations, config.look_back)
    )
    if not dilations + look_back:
        raise UserError(f"no layer has a dilation that frames {times} times as long could divide by {times}")
    return replace(config, filter_length=times * config.filter_length, dilations=dilations, look_back=look_back)


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
            "it grows by more channels, dilations and look_back, or frames of a multiple of filter_length, or becomes causal,"
            f" not by {' and '.join(differing)}"
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
def _put_in_the_middle(filters: Tensor, shorter: Tensor, axis: int) -> None:
    """Filters over longer frames that are zero but in the middle half, third, ..., along `axis`."""
    length = shorter.shape[axis]
    filters.zero_().narrow(axis, (filters.shape[axis] - length) // 2, length).copy_(shorter)


@torch.no_grad()
def _take(part: nn.Module, old: nn.Module) -> None:
    """Put a smaller part's numbers in the first places; what old outputs see of new inputs is zero."""
    smaller: Mapping[str, Tensor] = old.state_dict()
    for name, numbers in part.state_dict().items():
        before = smaller[name]
        if numbers.dim() > 1:
            numbers[: len(before)] = 0
        numbers[tuple(slice(size) for size in before.shape)] = before
