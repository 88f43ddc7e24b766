"""Random numbers that depend on where a run is, so that it may be stopped there and gone on with."""

import numpy as np
import torch


def seed_at(seed: int, *place: int) -> None:
    """Have torch's random numbers from here on depend on nothing but a seed and a place in a run.

    Args:
        seed: of the run, at least 0.
        place: numbers that no other place of the run has, such as epoch and step, at least 0.
    """
    torch.manual_seed(int(np.random.SeedSequence((seed, *place)).generate_state(1, np.uint64)[0]))
