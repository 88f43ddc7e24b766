"""The separation network on a mixture that comes piece by piece, with explicit state."""

import torch
import torch.nn.functional as F
from torch import Tensor

from separator.models.exact import masking_weights
from separator.models.tasnet import TasNet, frames_last, overlap_add
from separator.models.window_norm import WindowNorm, WindowNormStream
from separator.snn.stack.streaming import StackStream


class TasNetStream:
    """Estimates of a mixture that comes piece by piece.

    Joined, the pieces are what the network makes of the whole mixture: to the bit if it is spiking, else but for rounding.
    After n samples at least n - `look_ahead` samples of the estimates have been given.

    Args:
        network: in evaluation mode, wholly analog or wholly spiking; not to be changed meanwhile.
        live: pieces are small; see `StackStream`.
    """

    def __init__(self, network: TasNet, live: bool = False) -> None:
        self.network = network
        self.norm = WindowNormStream(network.norm) if isinstance(network.norm, WindowNorm) else None
        self.stack = StackStream(network.stack, live)
        self.exact = network.exact
        self.encoder = network.encoder.in_steps() if self.exact else None
        self.masking = masking_weights(network.mask, network.decoder) if self.exact else None
        self.taken = self.given = 0  # samples
        self.samples: Tensor | None = None  # (B, n) that lie in frames to come
        self.features: Tensor | None = None  # (B, K, N) that wait for their masks
        self.tail: Tensor | None = None  # (B, C, L/2), of the last frame, to be added to the next

    @property
    def look_ahead(self) -> int:
        """Samples of the mixture after it that a sample of an estimate may wait for."""
        return self.network.config.look_ahead

    @torch.no_grad()
    def push(self, mixture: Tensor, last: bool = False) -> Tensor:
        """Take the next samples, give what is ready: if they are the last, all the rest, as much as the mixture is long.

        Shape: (B, n) -> (B, C, m), any n, but at least 1 sample in all; m at least 0.
        """
        self.taken += mixture.shape[-1]
        length, stride = self.network.config.filter_length, self.network.config.stride
        samples = mixture if self.samples is None else torch.cat([self.samples, mixture], -1)
        count = max(0, (samples.shape[-1] - length) // stride + 1)  # of frames
        rest = samples.shape[-1] - count * stride
        if last and (rest > stride or self.taken < length):  # samples that no frame holds yet
            count += 1
        if not count and not last:
            self.samples = samples
            return self._nothing(mixture)
        span = (max(1, count) - 1) * stride + length
        padded = F.pad(samples, (0, span - samples.shape[-1])) if span > samples.shape[-1] else samples
        frames = padded.unfold(-1, length, stride)[:, :count]
        self.samples = samples[..., count * stride :]
        given = self.given
        estimates = self._estimate(frames, last)
        if not last:
            return estimates
        assert self.tail is not None
        return torch.cat([estimates, self.tail.float()], -1)[..., : self.taken - given]

    def finish(self) -> Tensor:
        """Give the rest where no samples are left to be taken. Shape: (B, C, m)."""
        assert self.samples is not None
        return self.push(self.samples[..., :0], last=True)

    def _estimate(self, frames: Tensor, last: bool) -> Tensor:
        """Shape: (B, K, L) -> (B, C, K' L/2), K' the frames whose masks are there."""
        network = self.network
        features = network.features(frames, self.encoder)
        waiting = self.features is not None and self.features.shape[1]
        self.features = torch.cat([self.features, features], 1) if self.features is not None and waiting else features
        seen = network.stack_input(features, self.exact) if self.norm is None else frames_last(self.norm.push(features, last))
        activation = self.stack.push(seen, last)
        if activation is None:
            return self._nothing(frames)
        ready = activation.shape[-1]
        decoded = network.decode(activation, self.features[:, :ready], self.masking)  # (B, C, K', L)
        self.features = self.features[:, ready:]
        estimates, self.tail = overlap_add(decoded, self.tail)
        self.given += estimates.shape[-1]
        return estimates.float()

    def _nothing(self, like: Tensor) -> Tensor:
        return like.new_zeros(len(like), self.network.config.n_src, 0)
