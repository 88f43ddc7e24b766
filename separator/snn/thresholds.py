"""Threshold LayerNorm: firing thresholds from the distribution of activations (Wu et al. 2021, section 3.3)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SAMPLES = 2_000_000  # activations that a percentile is taken over, spread evenly over what was seen


def activation_bound(activations: Sequence[Tensor], percentile: float, channelwise: bool) -> Tensor:
    """Upper bound a_u of the activations, over all batches given.

    Args:
        activations: (B, C, ...) each; zeros count, as in the paper's Fig. 1.
        percentile: 99 or 99.9 in the paper; 100 is the maximum.
        channelwise: one bound per channel instead of one for the layer.

    Returns:
        a_u, (1,) or (C,). A channel that is silent throughout gets the layer's bound.

    Raises:
        ValueError: no activation is above zero, so that no threshold fires the layer.
    """
    by_channel = [a.detach().transpose(0, 1).flatten(1) for a in activations]  # (C, n) each
    values = torch.cat(by_channel, 1)
    stride = max(1, values.numel() // SAMPLES)
    bound = _percentile(values.flatten()[::stride], percentile)
    if bound <= 0:
        bound = values.max()  # a layer sparser than the percentile: what little there is sets the scale
    if bound <= 0:
        raise ValueError("no neuron of the layer is ever active on the calibration batches; a threshold cannot be set")
    if not channelwise:
        return bound.view(1)
    bounds = torch.stack([_percentile(channel, percentile) for channel in values])
    return torch.where(bounds > 0, bounds, bound)


def _percentile(values: Tensor, percentile: float) -> Tensor:
    rank = max(1, min(len(values), math.ceil(percentile / 100 * len(values) - 1e-9)))
    return values.kthvalue(rank).values
