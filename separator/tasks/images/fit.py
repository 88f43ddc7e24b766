"""Whether a network and a set of images go together."""

import math

from separator.errors import UserError
from separator.images.labelled import ImageSet
from separator.models.card import Goal
from separator.models.feedforward import FeedForward
from separator.snn.layers.analog import AnalogLayer


def check_fit(network: FeedForward, goal: Goal, images: ImageSet) -> None:
    """Say what does not fit.

    Raises:
        UserError: the network sees other pictures, or has another number of outputs than there are classes or pixels.
    """
    config = network.config
    seen, shape = (config.channels, config.height, config.width), images.train.shape
    if seen != shape:
        raise UserError(f"the network sees pictures of {seen}, but those of {images.train.origin} are {shape}")
    last = network.stack.layers[-1]
    outputs = len(last.affine.weight if isinstance(last, AnalogLayer) else last.weight)  # type: ignore[arg-type]
    wanted = images.classes if goal == "classify" else math.prod(images.train.shape)
    if outputs != wanted:
        raise UserError(f"to {goal}, the network needs {wanted} outputs, not {outputs}")
