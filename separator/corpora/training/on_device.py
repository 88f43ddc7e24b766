"""Mixtures made on the fly where networks learn, such as on a GPU: a batch at a time, with speech, rooms and noises kept there.

What is done to a source is what `separator.corpora.training.on_the_fly.made` does, from the same plans, of all sources of a
batch together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from separator.corpora.training.bank import Cut, SpeechBank
from separator.corpora.training.batched import (
    at_level_of,
    change_speed,
    equalise,
    gain_to,
    move_resonances,
    reverberate,
    silence,
)
from separator.corpora.training.on_the_fly import FADE, LEVEL, MixturesOnTheFly
from separator.corpora.training.plans import MixturePlan, SourcePlan, Variation

Samples = NDArray[np.int16]  # of recordings, (T,)

TAIL = 1.0  # s, within which the response of a shelving filter has died away


class RecordingsOnDevice:
    """Samples of recordings on a device.

    Args:
        arrays: samples, all different.
        device: where they shall be.
    """

    def __init__(self, arrays: Sequence[Samples], device: torch.device) -> None:
        self.arrays = tuple(arrays)  # so that no other one has the id of one of them
        self.first: dict[int, int] = {}
        self.samples = torch.empty(sum(map(len, arrays)), dtype=torch.int16, device=device)
        position = 0
        for array in arrays:
            self.first[id(array)] = position
            self.samples[position : position + len(array)] = torch.from_numpy(array)
            position += len(array)

    def joined(self, cuts: Sequence[tuple[Samples, Cut]], least: int = 0) -> Tensor:
        """Waves that parts of recordings make, zeros behind the shorter ones.

        Args:
            cuts: array that each is of, and its parts.
            least: samples of each.

        Returns:
            (waves, T), T of the longest one.
        """
        parts, longest = max(len(cut.starts) for _, cut in cuts), max(least, *(int(cut.lengths.sum()) for _, cut in cuts))
        starts, ends = np.zeros((len(cuts), parts), np.int64), np.full((len(cuts), parts), longest)
        scales = np.zeros((len(cuts), parts + 1), np.float32)  # the last one of what lies behind a shorter wave
        for i, (array, cut) in enumerate(cuts):
            end, count = cut.lengths.cumsum(), len(cut.starts)
            ends[i, :count], scales[i, :count] = end, cut.scales
            starts[i, :count] = cut.starts - (end - cut.lengths) + self.first[id(array)]
        first, last, scale = (torch.from_numpy(x).to(self.samples.device, non_blocking=True) for x in (starts, ends, scales))
        place = torch.arange(longest, device=first.device).expand(len(cuts), -1).contiguous()
        part = torch.searchsorted(last, place, right=True)
        sample = first.gather(1, part.clamp(max=parts - 1)).add_(place).clamp_(max=len(self.samples) - 1)
        return self.samples[sample] * scale.gather(1, part)


class DeviceStore:
    """Recordings that are kept on a device; part of what is kept is not kept twice."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.kept: list[RecordingsOnDevice] = []

    def recordings(self, arrays: Sequence[Samples]) -> RecordingsOnDevice:
        """Those of these arrays, which stay on the device from now on."""
        distinct = {id(array): array for array in arrays}
        kept = self._holding(distinct)
        if kept is None:
            kept = RecordingsOnDevice(list(distinct.values()), self.device)
            self.kept.append(kept)
        return kept

    def has_room(self, arrays: Sequence[Samples]) -> bool:
        """Whether these arrays are kept already, or a GPU has room for them and as much again."""
        distinct = {id(array): array for array in arrays}
        free: int = torch.cuda.mem_get_info(self.device)[0]
        return self._holding(distinct) is not None or 2 * sum(array.nbytes for array in distinct.values()) < free

    def _holding(self, distinct: Mapping[int, Samples]) -> RecordingsOnDevice | None:
        return next((kept for kept in self.kept if distinct.keys() <= kept.first.keys()), None)


class DeviceMixer:
    """Makes batches of mixtures from their plans.

    Args:
        banks: the talkers' corpora.
        variation: what plans were drawn with.
        store: of the device where batches are made.
    """

    def __init__(self, banks: Sequence[SpeechBank], variation: Variation, store: DeviceStore) -> None:
        self.banks, self.variation, self.device = banks, variation, store.device
        self.speech = store.recordings([bank.waves for bank in banks])
        self.noise = store.recordings([variation.noise.waves]) if variation.noise and variation.noisy else None
        self.responses = torch.from_numpy(variation.rooms.responses).to(self.device) if variation.rooms else None

    @torch.no_grad()
    def __call__(self, plans: Sequence[MixturePlan]) -> Tensor:
        """Sources of mixtures of one length, and the noise behind them, if mixtures may have some. Shape: (B, rows, T)."""
        planned = [source for plan in plans for source in plan.sources]
        waves = self._spoken(planned, plans[0].samples)
        self._place(waves, planned, plans)
        waves *= self._numbers([source.gain for source in planned])[:, None]
        sources = waves.view(len(plans), -1, waves.shape[1])
        rows = sources if self.noise is None else torch.cat([sources, self._background(sources, plans)[:, None]], 1)
        return rows * LEVEL

    def _spoken(self, planned: Sequence[SourcePlan], samples: int) -> Tensor:
        """What talkers say, (S, T), at another speed, of another vocal tract and through a filter where that is planned."""
        rate = self.variation.sample_rate
        read = self.speech.joined([(self.banks[source.corpus].waves, source.speech) for source in planned], samples)
        waves = read[:, :samples].clone()

        def moved(own: Tensor, _: Tensor, ratios: Tensor) -> Tensor:
            return at_level_of(move_resonances(own, ratios, rate), own)

        self._vary(waves, [p.speed for p in planned], lambda _, who, speeds: change_speed(read[who], speeds, samples))
        self._vary(waves, [p.resonances for p in planned], moved)
        self._vary(waves, [p.shelf for p in planned], lambda own, _, shelves: equalise(own, shelves, round(TAIL * rate)))
        return waves

    def _place(self, waves: Tensor, planned: Sequence[SourcePlan], plans: Sequence[MixturePlan]) -> None:
        """Give sources (S, T) their pauses and rooms, in place."""
        fade = round(FADE * self.variation.sample_rate)
        self._vary(waves, [p.silent for p in planned], lambda own, _, spans: silence(own, spans, fade))
        if (responses := self.responses) is not None:
            where = [None if p.room is None else (p.room[0], p.room[1][i]) for p in plans for i in range(len(p.sources))]
            self._vary(waves, where, lambda own, _, at: reverberate(own, responses[at[:, 0].long(), at[:, 1].long()]))

    def _background(self, sources: Tensor, plans: Sequence[MixturePlan]) -> Tensor:
        """Noise behind sources (B, C, T), zeros where there is none. Shape: (B, T)."""
        background = torch.zeros_like(sources[:, 0])
        noisy = [(i, plan.noise) for i, plan in enumerate(plans) if plan.noise is not None]
        if noisy and self.noise is not None and self.variation.noise is not None:
            who = torch.tensor([i for i, _ in noisy], device=self.device)
            waves = self.noise.joined([(self.variation.noise.waves, own.noise) for _, own in noisy])
            below = self._numbers([10 ** (-own.snr / 20) for _, own in noisy])
            background[who] = waves * (gain_to(waves, sources[who].sum(1)) * below[:, None])
        return background

    def _vary(self, waves: Tensor, values: Sequence[object], vary: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        """Vary, in place, those of waves (S, T) that have a value; `vary` gets them, their numbers, and the values."""
        drawn = [(i, value) for i, value in enumerate(values) if value is not None]
        if drawn:
            who = torch.tensor([i for i, _ in drawn], device=self.device)
            given = torch.from_numpy(np.array([value for _, value in drawn], np.float64)).to(self.device, non_blocking=True)
            waves[who] = vary(waves[who], who, given)

    def _numbers(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device)


class PlansOf(Dataset[MixturePlan]):
    """Plans of mixtures in place of the mixtures."""

    def __init__(self, mixtures: MixturesOnTheFly) -> None:
        self.mixtures = mixtures

    def __len__(self) -> int:
        return len(self.mixtures)

    def __getitem__(self, index: int) -> MixturePlan:
        return self.mixtures.plan(index)


class BatchesOnDevice:
    """Batches of mixtures made on a device, re-iterable.

    Args:
        plans: batches of plans.
        mixer: gives what makes them, once it is wanted.
    """

    def __init__(self, plans: DataLoader[MixturePlan], mixer: Callable[[], DeviceMixer]) -> None:
        self.plans, self.mixer = plans, mixer

    def __len__(self) -> int:
        return len(self.plans)

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.mixer(), self.plans)
