"""Threshold LayerNorm: firing thresholds from the distribution of activations (Wu et al. 2021, section 3.3)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from separator.errors import UserError

SAMPLES = 2_000_000  # activations that a bound is taken from, spread evenly over what was seen
CANDIDATES = 100  # bounds that least squares are sought among
SILENT = "no neuron is ever active on the calibration batches; take more of these, or train the network for longer"


class ThresholdError(UserError, ValueError):
    """There is no threshold by which a layer fires as it should."""


def check_percentile(percentile: float) -> None:
    """Say what no percentile of activations is.

    Raises:
        UserError: it is not above 0, or above 100.
    """
    if not 0 < percentile <= 100:
        raise UserError(f"the percentile is above 0 and at most 100, not {percentile}")


def activation_bound(activations: Sequence[Tensor], percentile: float, channelwise: bool) -> Tensor:
    """Upper bound a_u of the activations, over all batches given.

    Args:
        activations: (B, C, ...) each; zeros count, as in the paper's Fig. 1.
        percentile: 99 or 99.9 in the paper; 100 is the maximum.
        channelwise: one bound per channel instead of one for the layer.

    Returns:
        a_u, (1,) or (C,). A channel gets the layer's bound where its own percentile is zero: it is silent, or all but silent.

    Raises:
        ThresholdError: no activation is above zero.
    """
    by_channel = [a.detach().transpose(0, 1).flatten(1) for a in activations]  # (C, n) each
    values = torch.cat(by_channel, 1)
    stride = max(1, values.numel() // SAMPLES)
    bound = _percentile(values.flatten()[::stride], percentile)
    if bound <= 0:
        bound = values.max()  # a layer sparser than the percentile: what little there is sets the scale
    if bound <= 0:
        raise ThresholdError(SILENT)
    if not channelwise:
        return bound.view(1)
    bounds = torch.stack([_percentile(channel, percentile) for channel in values])
    return torch.where(bounds > 0, bounds, bound)


def least_squares_bound(
    activations: Sequence[Tensor],
    limits: tuple[int, int],
    initial_potential: float,
    channelwise: bool,
    below: float | None = None,
) -> Tensor:
    """Upper bound a_u under which count times threshold comes nearest to the activations, over all batches given.

    It is the one of `CANDIDATES` shares of the largest activation that has the least sum of squared differences, where a
    neuron fires clip(floor(a / threshold + initial_potential), 0, N_s) times for activation a, with threshold a_u / N_s. Where
    it fires negative spikes as well, activations below zero are cut to whole numbers of thresholds alike.

    Args:
        activations: (B, C, ...) each.
        limits: least and largest sum of a neuron's spikes, 0 and N_s of those with one threshold.
        initial_potential: initial potential in thresholds.
        channelwise: one bound per channel instead of one for the layer.
        below: initial potential in negative thresholds; None for the same.

    Returns:
        a_u, (1,) or (C,). A channel that is silent throughout gets the layer's bound.

    Raises:
        ThresholdError: no activation is above zero.
    """
    starts = initial_potential, initial_potential if below is None else below
    channels = torch.cat([a.detach().transpose(0, 1).flatten(1) for a in activations], 1)  # (C, n)
    if channels.max() <= 0:
        raise ThresholdError(SILENT)
    largest, sampled = channels.amax(1), channels[:, :: max(1, channels.numel() // SAMPLES)]
    lost = (sampled.amax(1) <= 0) & (largest > 0)  # channels that are active where no sample was taken
    if lost.any():
        sampled = sampled.clone()
        sampled[lost, 0] = largest[lost]
    silent = largest <= 0
    bounds = _nearest_bound(sampled, limits, starts) if channelwise else None
    if bounds is not None and not silent.any():
        return bounds
    layer = _nearest_bound(sampled.flatten()[None], limits, starts)
    return layer if bounds is None else torch.where(silent, layer, bounds)


def _nearest_bound(rows: Tensor, limits: tuple[int, int], starts: tuple[float, float]) -> Tensor:
    """Nearest bound of each row of activations, one by one. Shape: (R, n) -> (R,)."""
    shares = torch.arange(1, CANDIDATES + 1, dtype=rows.dtype, device=rows.device) / CANDIDATES
    bounds = []
    for row in rows:
        thresholds = (row.max() * shares / limits[1]).clamp_min(torch.finfo(row.dtype).tiny)
        sums = (_sum_of_spikes(row / x, limits, *starts) * x for x in thresholds)
        errors = [(row - stands_for).square().sum() for stands_for in sums]
        bounds.append(thresholds[int(torch.stack(errors).argmin())] * limits[1])
    return torch.stack(bounds)


def _sum_of_spikes(thresholds: Tensor, limits: tuple[int, int], initial_potential: float, below: float) -> Tensor:
    """Sum of the spikes of neurons, from activations in thresholds."""
    up = (thresholds + initial_potential).floor().clamp(0, limits[1])
    return up if limits[0] == 0 else up - (below - thresholds).floor().clamp(0, -limits[0])


def rate_bound(activation: Tensor, rate: float) -> Tensor:
    """Upper bound a_u under which neurons fire at a mean rate: where the mean of min(a / a_u, 1) is that rate.

    Shape: any -> (1,), of the type of `activation`.

    Raises:
        ThresholdError: the rate is not above 0, or there are fewer active neurons than that.
    """
    values = activation.detach().flatten()
    values = values[:: max(1, len(values) // SAMPLES)]
    active = values[values > 0].double().sort().values
    if not 0 < rate * len(values) < len(active):
        share = len(active) / max(1, len(values))
        raise ThresholdError(f"a firing rate of {rate:g} is out of reach where a share of {share:.3f} of the neurons is active")
    # Of those up to a bound the sum, and the number above it, say what the mean is; it falls as the bound rises.
    sums, above = active.cumsum(0), len(active) - torch.arange(1.0, len(active) + 1, dtype=active.dtype, device=active.device)
    below = int(((sums / active + above) / len(values) > rate).sum())
    bound = sums[below - 1] / (rate * len(values) - above[below - 1])
    return bound.to(activation.dtype).view(1)


def _percentile(values: Tensor, percentile: float) -> Tensor:
    rank = max(1, min(len(values), math.ceil(percentile / 100 * len(values) - 1e-9)))
    return values.kthvalue(rank).values
