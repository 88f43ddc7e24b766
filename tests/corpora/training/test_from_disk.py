import numpy as np
import pytest
import soundfile
import torch

from separator.corpora.training.from_disk import MixturesFromDisk
from separator.errors import UserError


def test_mixtures_from_disk_are_cut_to_segments(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for length in (1000, 1700, 300):
        pair = []
        for s in (1, 2):
            path = tmp_path / f"{length}_{s}.wav"
            soundfile.write(path, rng.integers(-99, 99, length).astype(np.int16), 8000)
            pair.append(path)
        paths.append(tuple(pair))
    dataset = MixturesFromDisk(paths, 600, 8000)
    assert [start for _, start in dataset.segments] == [0, 600, 0, 600, 1200, 0]
    wave, _ = soundfile.read(paths[1][1], dtype="float32")
    assert torch.equal(dataset[4][1], torch.cat([torch.from_numpy(wave[1200:]), torch.zeros(100)]))
    assert dataset[5].shape == (2, 600)
    with pytest.raises(UserError, match="8000 Hz"):
        MixturesFromDisk(paths, 600, 16000)[0]
