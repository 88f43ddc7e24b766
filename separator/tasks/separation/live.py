"""Separation of live sound: blocks of any size in, sources out, with a fixed latency."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from separator.audio.pcm import StalledError
from separator.audio.resample import LiveResampler, resampled_length
from separator.errors import UserError
from separator.ranges import FASTEST, SLOWEST

if TYPE_CHECKING:
    from separator.models import SeparationModel
    from separator.snn.observe.activity import Activity

Array = NDArray[np.float32]

MANY, SOME = 1000, 500  # samples of pieces of many frames and of few, which other loops serve


class EstimateStream:
    """A model's network on a mixture that comes piece by piece, in arrays.

    Args:
        model: in evaluation mode.
        device: where its network is.
        live: pieces are small. Then all that is made or loaded with the first use is so here, not while sound waits.
        shifts: delays of the mixture that estimates are averaged over.

    Raises:
        UserError: the network does not take so many shifts.
    """

    def __init__(self, model: "SeparationModel", device: str, live: bool = False, shifts: int = 1) -> None:
        self.device = device
        if live:
            rehearsal = model.stream(live)
            for samples in (MANY, SOME):
                rehearsal.push(torch.zeros(1, samples, device=device), last=samples == SOME)
        self._stream = model.stream(live, shifts)

    @property
    def look_ahead(self) -> int:
        """Samples of the mixture after it that a sample of an estimate may wait for."""
        return self._stream.look_ahead

    def push(self, mixture: Array, last: bool = False) -> Array:
        """Take the next samples, give what is ready, all the rest if they are the last. Shape: (B, k) -> (B, n_src, k').

        Raises:
            UserError: memory does not suffice, or the estimates overflow.
        """
        try:
            return _samples_of(self._stream.push(torch.tensor(np.ascontiguousarray(mixture), device=self.device), last))
        except torch.OutOfMemoryError as error:
            raise UserError(f"out of memory on {self.device}; take a shorter --segment") from error

    def finish(self, mixtures: int = 1) -> Array:
        """Give the rest where no samples are left to be taken, of so many mixtures. Shape: (B, n_src, k')."""
        return self.push(np.zeros((mixtures, 0), np.float32), last=True)


def _samples_of(estimates: torch.Tensor) -> Array:
    samples: Array = estimates.cpu().numpy()
    if not np.isfinite(samples).all():
        raise UserError("the network's output overflows; lower the level of the input towards full scale 1")
    return samples


def require_rate(sample_rate: float) -> int:
    """A sample rate of any kind of number as a plain one, Hz.

    Raises:
        UserError: it is no rate.
    """
    try:
        rate = int(sample_rate)
        if not isinstance(sample_rate, bool) and SLOWEST <= rate <= FASTEST and rate == sample_rate:
            return rate
    except (TypeError, ValueError, OverflowError):
        pass
    raise UserError(f"a sample rate is a whole number of Hz from {SLOWEST} to {FASTEST}, not {sample_rate!r}")


class SeparationStream:
    """Sources of live sound: `push` blocks of any size, `pull` what is ready, `finish` when the sound ends.

    After n samples have been pushed in all, exactly n - `latency` can have been pulled, and after `finish` n. What is pulled
    does not depend on the sizes of the blocks; of a spiking network at its own sample rate it is, to the bit, what
    `Separator.separate` gives with the level `model`, if the sound has no offset and is neither very quiet nor very loud.

    Args:
        network: gives estimates.
        n_src: number of talkers.
        gain: that estimates are multiplied with.
        model_rate: Hz, of the network.
        sample_rate: Hz, of blocks and sources.

    Raises:
        UserError: the rate is no rate.
    """

    def __init__(self, network: EstimateStream, n_src: int, gain: float, model_rate: int, sample_rate: int) -> None:
        sample_rate = require_rate(sample_rate)
        self.sample_rate, self.n_src = sample_rate, n_src
        self.pushed = self.pulled = 0  # samples
        self.elapsed = 0.0  # s, of computing
        self.finished = False
        self._network, self._gain, self._model_rate = network, np.float32(gain), model_rate
        self._ready = np.zeros((n_src, 0), np.float32)
        self._down = self._up = None
        if model_rate != sample_rate:
            self._down, self._up = LiveResampler(self.sample_rate, model_rate), LiveResampler(model_rate, self.sample_rate)

    @property
    def latency_seconds(self) -> float:
        """Seconds that sources come after the mixture, computing left out."""
        return self.latency / self.sample_rate

    @property
    def latency(self) -> int:
        """Samples that sources come after the mixture."""
        if self._down is None or self._up is None:
            return self._network.look_ahead
        # A source's last sample at the model's rate lies between two samples of the mixture.
        waits = self._network.look_ahead + self._up.look_ahead
        return self._down.look_ahead + math.ceil((waits + 1) * self.sample_rate / self._model_rate)

    def push(self, block: ArrayLike | torch.Tensor) -> None:
        """Take the next samples of the mixture, floats, full scale at 1, all before one that is no number. Shape: (k,), any k.

        Raises:
            UserError: the block has another shape or type, or NaN or infinite samples; the stream is finished.
        """
        if isinstance(block, torch.Tensor) and block.is_floating_point():
            block = block.detach().cpu().float()
        samples = np.asarray(block)
        if self.finished:
            raise UserError("the stream is finished; start another one")
        if samples.ndim != 1 or samples.dtype.kind != "f":
            raise UserError(f"a block is one channel of floats, (k,), not {samples.dtype} of shape {samples.shape}")
        if samples.dtype != np.float32:
            with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
                samples = samples.astype(np.float32)
        finite = np.isfinite(samples)
        if finite.all():
            self._take(samples)
        else:
            self._take(samples[: finite.argmin()])
            raise UserError(f"sample {self.pushed} of the stream is NaN or infinite")

    def _take(self, samples: Array) -> None:
        self.pushed += len(samples)
        if len(samples):
            started = time.perf_counter()
            self._estimate(samples[None] if self._down is None else self._down.push(samples[None]))
            self.elapsed += time.perf_counter() - started

    def pull(self, samples: int | None = None) -> Array:
        """Give the next samples of the sources, at most so many. Shape: (n_src, k), k as many as there are."""
        due = self.pushed - (0 if self.finished else self.latency) - self.pulled
        count = max(0, due if samples is None else min(due, samples))
        pulled, self._ready = self._ready[:, :count], self._ready[:, count:]
        self.pulled += count
        return pulled

    def finish(self) -> None:
        """The sound has ended: what is left can be pulled."""
        if self.finished:
            return
        self.finished = True
        if not self.pushed:
            return
        if self._down is None or self._up is None:
            self._add(self._network.finish()[0])
            return
        self._estimate(self._down.finish(resampled_length(self.pushed, self.sample_rate, self._model_rate)))
        self._add(self._up.push(self._network.finish()[0]))
        self._add(self._up.finish(self.pushed))

    def _estimate(self, mixture: Array) -> None:
        """Put the network's estimates of the next samples at its rate, (1, k), to those that are ready."""
        if mixture.shape[-1]:
            estimates = self._network.push(mixture)[0]
            self._add(estimates if self._up is None else self._up.push(estimates))

    def _add(self, sources: Array) -> None:
        self._ready = np.concatenate([self._ready, sources * self._gain], -1)


def separate_live(stream: SeparationStream, blocks: Iterable[Array], write: Callable[[Array], None]) -> None:
    """Push blocks as they come, (k,), and write what is ready, (n_src, k).

    Where the sound ends with an error or Ctrl-C, what came before it is written all the same.

    Raises:
        UserError: of the sound, of the network or of writing.
    """
    try:
        for block in blocks:
            stream.push(block)
            write(stream.pull())
    except (BrokenPipeError, StalledError):  # nobody is there to read the rest
        raise
    except BaseException:
        stream.finish()
        write(stream.pull())
        raise
    stream.finish()
    write(stream.pull())


@dataclass(frozen=True)
class LiveReport:
    """Report of what was done to a stream of sound."""

    model: str
    sample_rate: int  # Hz
    seconds: float  # length of the sound
    latency: float  # s, that sources came after the mixture
    elapsed: float  # seconds that separating took, waiting for sound left out
    cut: int  # samples of the sources over full scale, which were cut
    activity: "Activity | None"  # of a spiking network, if asked for

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"activity": None if self.activity is None else self.activity.to_dict()}


def report_live(stream: SeparationStream, model: str, cut: int, activity: "Activity | None") -> LiveReport:
    """Report of what has been done to a stream up to now."""
    seconds = stream.pushed / stream.sample_rate
    return LiveReport(model, stream.sample_rate, seconds, stream.latency_seconds, stream.elapsed, cut, activity)
