"""Numbers of channels, shaped to broadcast against activations and weights."""

from torch import Tensor


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """(C,) or (1,) shaped to broadcast against (B, C, ...)."""
    return values.view(-1, *[1] * (like.dim() - 2))


def per_output(values: Tensor, weight: Tensor) -> Tensor:
    """(C_out,) shaped to broadcast against a weight."""
    return values.view(-1, *[1] * (weight.dim() - 1))


def per_input(values: Tensor, weight: Tensor) -> Tensor:
    """(C_in,), in groups or not, flattened since or not, or (1,), shaped to broadcast against a weight."""
    if len(values) > weight.shape[1]:  # each group of outputs sees a group of inputs of its own
        groups = values.view(-1, weight.shape[1])
        return groups.repeat_interleave(len(weight) // len(groups), 0).view(len(weight), -1, *[1] * (weight.dim() - 2))
    if len(values) not in (1, weight.shape[1]):  # channels that have been flattened
        values = values.repeat_interleave(weight.shape[1] // len(values))
    return values.view(1, -1, *[1] * (weight.dim() - 2))
