"""Charges of neurons that encode, at so few positions that a compiled loop saves more calls than it takes."""

import torch
from torch import Tensor

from separator.errors import UserError
from separator.snn.execution.chosen import has_loaded_kernels
from separator.snn.integers.products import FEW, MatrixProduct
from separator.snn.layers.rounding import INPUT_LIMIT, INPUT_QUANTUM


def require_finite(finite: bool) -> None:
    """Refuse input that is not.

    Raises:
        UserError: the input is not finite.
    """
    if not finite:
        raise UserError("the input holds numbers that are NaN or infinite, which no neuron can be charged with")


class ChargesOfFew:
    """All of the charge of neurons that encode, rounded and clipped, to the bit as `SpikingLayer.charge` has it.

    Args:
        product: of whole quanta of the input, float64.
        constant: (C_out,), float64, part of the charge.
        ceiling: (C_out,), float32, magnitude that it is clipped to.
    """

    def __init__(self, product: MatrixProduct, constant: Tensor, ceiling: Tensor) -> None:
        self.product = product
        self.columns = product.matrix.t().contiguous().numpy()
        self.constant, self.ceiling, self.floor = (x.contiguous().numpy() for x in (constant, ceiling, -ceiling))

    def serves(self, x: Tensor) -> bool:
        """True if there are so few positions and the kernels that other layers run by are loaded. Shape: (B, C_in, ...)."""
        return x.numel() <= FEW * x.shape[1] and has_loaded_kernels()

    def __call__(self, x: Tensor) -> Tensor:
        """The charge. Shape: (B, C_in, ...) -> (B, C_out, ...), float32.

        Raises:
            UserError: the input holds numbers that are NaN or infinite.
        """
        from separator.snn.execution.kernels.charges import charge

        seen, sizes = self.product.seen(x.detach().float())
        rows, found = seen.flatten(1).contiguous(), torch.empty(len(seen), len(self.constant))
        limits = self.floor, self.ceiling
        require_finite(
            charge(rows.numpy(), 1 / INPUT_QUANTUM, INPUT_LIMIT, self.columns, self.constant, *limits, found.numpy())
        )
        return found.view(len(x), *sizes, found.shape[1]).movedim(-1, 1)
