"""Estimates averaged over delays of the mixture, which cuts it into other frames each time."""

from collections.abc import Callable
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from separator.errors import UserError
from separator.models.streaming import TasNetStream
from separator.models.tasnet import TasNet, overlap_add

HOP = 1000  # samples, for each of which it is decided anew which estimate of a delayed mixture is of which talker


class ShiftedStream:
    """Mean of the estimates of a mixture and of delayed copies of it, each moved back; like `TasNetStream` otherwise.

    The delays divide a frame's stride into equal parts. A network is not the same function of a delayed mixture, and what it
    gets wrong differs, so that part of that goes away in the mean. Copies are a batch: time and operations are so many times
    those of a single one. As each copy may have another order of talkers, and swap them elsewhere, the estimates of a copy are
    put in the order in which they fit best to those of the mixture itself, in windows of 2 `HOP`.

    Args:
        network: as of `TasNetStream`.
        shifts: delays, the one of 0 included.
        separate: estimates of the next samples of copies, as `TasNetStream.push` gives them, which it is if None.

    Raises:
        UserError: there are more delays than samples in a stride.
    """

    def __init__(self, network: TasNet, shifts: int, separate: Callable[[Tensor, bool], Tensor] | None = None) -> None:
        stride = network.config.stride
        if not 1 <= shifts <= stride:
            raise UserError(f"this network takes 1 to {stride} shifts, the samples between its frames, not {shifts}")
        self.delays = [n * stride // shifts for n in range(shifts)]
        self.orders = list(permutations(range(network.config.n_src)))
        self._separate = TasNetStream(network).push if separate is None else separate
        # Samples of the mixture after it that a sample of an estimate may wait for.
        self.look_ahead = network.config.look_ahead + self.delays[-1] + 2 * HOP
        self._taken = self._given = 0  # samples of the mixture
        self._past: Tensor | None = None  # (B, longest delay), of the mixture
        self._estimates: Tensor | None = None  # (N, B, C, k), not moved back yet
        self._moved: Tensor | None = None  # (N, B, C, k), from the first window on that is not averaged yet
        self._tail: Tensor | None = None  # (B, C, HOP), of the last window, to be added to the next

    @torch.no_grad()
    def push(self, mixture: Tensor, last: bool = False) -> Tensor:
        """Take the next samples, give what is ready; see `TasNetStream.push`. Shape: (B, n) -> (B, C, m)."""
        self._taken += mixture.shape[-1]
        longest = self.delays[-1]
        past = mixture.new_zeros(len(mixture), longest) if self._past is None else self._past
        seen = torch.cat([past, mixture, *([mixture.new_zeros(len(mixture), longest)] if last else [])], -1)
        self._past = seen[:, seen.shape[-1] - longest :]
        copies = [seen[:, longest - delay : seen.shape[-1] - delay] for delay in self.delays]
        estimates = self._separate(torch.cat(copies), last)
        self._estimates = _joined(self._estimates, estimates.view(len(copies), len(mixture), *estimates.shape[1:]))
        ready = max(0, self._estimates.shape[-1] - longest)
        moved = torch.stack([own[..., delay : delay + ready] for own, delay in zip(self._estimates, self.delays, strict=True)])
        self._estimates = self._estimates[..., ready:]
        if self._moved is None:  # the first window begins before the first sample
            self._moved = moved.new_zeros(*moved.shape[:-1], HOP)
        self._moved = _joined(self._moved, moved)
        return self._average(last)

    def finish(self) -> Tensor:
        """Give the rest where no samples are left to be taken. Shape: (B, C, m)."""
        assert self._past is not None
        return self.push(self._past[:, :0], last=True)

    def _average(self, last: bool) -> Tensor:
        """The mean of what windows are complete. Shape: (B, C, m)."""
        assert self._moved is not None
        if last:
            self._moved = F.pad(self._moved, (0, 2 * HOP))
        count = self._moved.shape[-1] // HOP - 1
        if count < 1:
            return self._moved.new_zeros(*self._moved.shape[1:-1], 0)
        windows = self._moved[..., : (count + 1) * HOP].unfold(-1, 2 * HOP, HOP)  # (N, B, C, K, 2 HOP)
        self._moved = self._moved[..., count * HOP :]
        first, *others = windows
        mean = sum((self._in_order_of(first, other) for other in others), first.clone()) / len(windows)
        skipped = HOP if self._tail is None else 0
        weights = torch.hann_window(2 * HOP, dtype=mean.dtype, device=mean.device)
        average, self._tail = overlap_add(mean * weights, self._tail)
        average = average[..., skipped : skipped + self._taken - self._given]
        self._given += average.shape[-1]
        return average

    def _in_order_of(self, first: Tensor, other: Tensor) -> Tensor:
        """Estimates in the order, window by window, in which they fit best to the first ones. Shapes: (B, C, K, L)."""
        alike = torch.einsum("bckl,bdkl->bkcd", first.double(), other.double())
        fits = torch.stack([alike[..., range(len(order)), order].sum(-1) for order in self.orders], -1)
        best = torch.tensor(self.orders, device=other.device)[fits.argmax(-1)]  # (B, K, C)
        return other.gather(1, best.movedim(-1, 1)[..., None].expand_as(other))


def _joined(before: Tensor | None, after: Tensor) -> Tensor:
    return after if before is None else torch.cat([before, after], -1)
