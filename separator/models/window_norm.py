"""Normalisation over features and the frames around each, which keeps what one frame's level says beside its neighbours'.

Mean and variance are over all features of all frames of a window, so that a soft frame stays soft next to a loud one. What is
exact about it: each frame's sum and sum of squares become whole numbers of steps that are the same for all frames, and such
numbers add up over a window without rounding, in any order and from whatever frame on. A window's sums are differences of two
running sums.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.models.exact import FEATURE_BITS, MOST_FEATURES, apply_compiled, compiled_for, largest, steps_per_unit
from separator.snn.integers.quanta import TINIEST

MOST_FRAMES = 2**12  # of a window, so that sums of 2^50 steps each stay below 2^63
# A frame's sum in steps of 2^-21, its sum of squares in steps of 2^-29: over 512 features, of a mean of 2^-30 and a variance of
# 2^-38, where epsilon is 2^-27. At most 2^50 and 2^90 steps: features a million times those of full scale.
SUM_STEP, SQUARE_STEP = 2.0**-21, 2.0**-29
MOST_STEPS, HALF_BITS = 2.0**50, 45  # squares are held in two halves


class WindowNorm(nn.Module):
    """Normalisation by mean and variance over the features and the frames around each, with gain and bias per feature.

    Frames before the first and behind the last one do not count.

    Args:
        features: N, at most MOST_FEATURES.
        before: frames before each that its window holds.
        after: frames after it.
        eps: added to the variance.

    Raises:
        ValueError: the window holds more than MOST_FRAMES frames.
    """

    def __init__(self, features: int, before: int, after: int, eps: float = 1e-8) -> None:
        super().__init__()
        if before + after + 1 > MOST_FRAMES:
            raise ValueError(f"normalisation takes at most {MOST_FRAMES} frames together, not {before + after + 1}")
        assert features <= MOST_FEATURES
        self.before, self.after, self.eps = before, after, eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, exact: bool = False) -> Tensor:
        """Shape: (B, K, N) -> (B, K, N), float32; to the bit if `exact`."""
        if exact:
            return self.exactly(x, moments(x), 0)
        x = x.float()
        with torch.autocast(x.device.type, enabled=False):
            mean = self._over_window(x.mean(-1))
            variance = (self._over_window(x.square().mean(-1)) - mean.square()).clamp_min(0)
            centred = (x - mean[..., None]) * torch.rsqrt(variance + self.eps)[..., None]
            return torch.addcmul(self.bias, centred, self.weight)

    @torch.no_grad()
    def exactly(self, x: Tensor, seen: Tensor, first: int) -> Tensor:
        """Normalise frames to the bit.

        Args:
            x: frames, (B, K, N).
            seen: moments of these and of those around them, (B, J, 3); J ends where the sound ends or at least `after` frames
                behind the last of `x`, and begins where it begins or at least `before` frames before the first.
            first: place of the first of `x` among them.

        Returns:
            (B, K, N), float32.
        """
        statistics = self._statistics(seen, first, x.shape[1], x.shape[2])
        gain, bias = self.weight.double(), self.bias.double()
        out = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        if (loops := compiled_for(x)) is not None:
            rows = (part.reshape(-1) for part in statistics)
            apply_compiled(loops.scale_rows, x.double().flatten(0, -2), *rows, gain, bias, out.flatten(0, -2))
            return out
        mean, scale = (part[..., None] for part in statistics)
        return out.copy_((x.double() - mean).mul_(scale).mul_(gain).add_(bias))

    def _statistics(self, seen: Tensor, first: int, count: int, features: int) -> "Statistics":
        """Mean and reciprocal deviation of the windows of `count` frames, (B, count) each, float64."""
        running = F.pad(seen.cumsum(1), (0, 0, 1, 0))
        place = torch.arange(first, first + count, device=seen.device)
        start, end = (place - self.before).clamp_min(0), (place + self.after + 1).clamp_max(seen.shape[1])
        total, high, low = (running[:, end] - running[:, start]).double().unbind(-1)
        numbers = (end - start).double() * features
        mean = total / numbers * SUM_STEP
        variance = (high * 2.0**HALF_BITS + low) / numbers * SQUARE_STEP - mean.square()
        return Statistics(mean, 1 / (variance.clamp_min(0) + self.eps).sqrt())

    def _over_window(self, frames: Tensor) -> Tensor:
        """Mean over the window of each frame. Shape: (B, K) -> (B, K)."""
        count = self.before + self.after + 1
        both = torch.stack([frames, torch.ones_like(frames)])
        sums: Tensor = F.avg_pool1d(F.pad(both, (self.before, self.after)), count, 1)
        return sums[0] / sums[1]

    def extra_repr(self) -> str:
        """For messages."""
        return f"{len(self.weight)}, before={self.before}, after={self.after}"


class Statistics(NamedTuple):
    """Mean and inverse deviation of the window of each frame."""

    mean: Tensor
    scale: Tensor  # 1 / standard deviation


@torch.no_grad()
def moments(x: Tensor) -> Tensor:
    """Sum and sum of squares of each frame in steps, the latter in two halves. Shape: (B, K, N) -> (B, K, 3), int64."""
    if (loops := compiled_for(x)) is not None:
        found = torch.empty(*x.shape[:2], 3, dtype=torch.float64)
        apply_compiled(loops.moments, x.double().flatten(0, -2), FEATURE_BITS, TINIEST, found.flatten(0, -2))
        total, squares, per_unit = found.unbind(-1)
    else:
        whole = x.double()
        per_unit = steps_per_unit(largest(whole), FEATURE_BITS)
        whole = (whole * per_unit).round_()
        total, squares, per_unit = whole.sum(-1), torch.linalg.vecdot(whole, whole), per_unit[..., 0]
    total = (total / per_unit / SUM_STEP).round_().clamp_(-MOST_STEPS, MOST_STEPS)
    squares = (squares / per_unit / per_unit / SQUARE_STEP).round_().clamp_(max=2.0 ** (2 * HALF_BITS))
    high = (squares * 2.0**-HALF_BITS).floor_()
    return torch.stack([total, high, squares - high * 2.0**HALF_BITS], -1).long()


class WindowNormStream:
    """Normalisation of frames that come piece by piece, to the bit what it is of all of them together."""

    def __init__(self, norm: WindowNorm) -> None:
        self.norm = norm
        self.waiting: Tensor | None = None  # frames whose window is not complete, (B, k, N)
        self.seen: Tensor | None = None  # moments of these, and of up to `before` frames before them

    def push(self, frames: Tensor, last: bool = False) -> Tensor:
        """Take the next frames, give those whose window is complete, all at the end. Shape: (B, k, N) -> (B, m, N)."""
        found = moments(frames)
        self.waiting = frames if self.waiting is None else torch.cat([self.waiting, frames], 1)
        self.seen = found if self.seen is None else torch.cat([self.seen, found], 1)
        waiting, first = self.waiting.shape[1], self.seen.shape[1] - self.waiting.shape[1]
        ready = waiting if last else max(0, waiting - self.norm.after)
        normalised = self.norm.exactly(self.waiting[:, :ready], self.seen, first)
        self.waiting = self.waiting[:, ready:]
        self.seen = self.seen[:, max(0, first + ready - self.norm.before) :]
        return normalised
