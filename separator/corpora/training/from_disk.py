"""Training data from disk: mixtures cut to segments."""

from collections.abc import Sequence
from pathlib import Path

import soundfile
import torch
from torch import Tensor
from torch.utils.data import Dataset

from separator.errors import UserError


class MixturesFromDisk(Dataset[Tensor]):
    """Sources of mixtures on disk, cut to segments. Item shape: (n_src, T); shorter ones are padded with zeros.

    Args:
        mixtures: the source files of each mixture.
        samples: length T of a segment.
        sample_rate: Hz.
    """

    def __init__(self, mixtures: Sequence[tuple[Path, ...]], samples: int, sample_rate: int) -> None:
        self.samples, self.sample_rate = samples, sample_rate
        self.segments = [
            (sources, start)
            for sources in mixtures
            for start in range(0, max(1, soundfile.info(sources[0]).frames - samples // 2), samples)
        ]

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int) -> Tensor:
        sources, start = self.segments[index]
        waves = []
        for path in sources:
            wave, rate = soundfile.read(path, self.samples, start, dtype="float32", fill_value=0.0)
            if rate != self.sample_rate:
                raise UserError(f"{path} has {rate} Hz, the network {self.sample_rate} Hz; make mixtures at that rate")
            waves.append(torch.from_numpy(wave))
        return torch.stack(waves)
