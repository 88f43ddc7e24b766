"""Mixtures that come piece by piece."""

import torch


def streamed(stream, mixture, sizes, known_end=False):
    """Estimates of a mixture in blocks of these sizes; how late they came, and were said to come."""
    given, late, taken = [], 0, 0
    while taken < mixture.shape[-1]:
        size = sizes.pop(0) if sizes else mixture.shape[-1]
        last = known_end and taken + size >= mixture.shape[-1]
        given.append(stream.push(mixture[:, taken : taken + size], last))
        taken = min(taken + size, mixture.shape[-1])
        late = max(late, taken - sum(piece.shape[-1] for piece in given))
    if not known_end:
        given.append(stream.finish())
    return torch.cat(given, -1), late, stream.look_ahead
