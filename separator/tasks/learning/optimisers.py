"""Optimisers by name: Adam, and Muon for the separator's weights with Adam for everything else."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.tasks.devices import native_precision

OptimiserName = Literal["adam", "muon"]

# Coefficients of the quintic iteration X <- aX + (bA + cAA)X with A = XX^T that drives all singular values towards one
# (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks").
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
NEGLIGIBLE = 1e-9  # of a matrix of norm one


def make_optimiser(
    name: OptimiserName, parameters: Mapping[str, nn.Parameter], lr: float, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """An optimiser of the parameters of a network, given by their names.

    Args:
        name: of the optimiser; Muon is for those of a `TasNet`.
        parameters: by their names.
        lr: learning rate.
        weight_decay: so many times each weight is added to its gradient, under Adam alone. Biases, thresholds and the like,
            of fewer than two dimensions, do not decay.
    """
    if name == "adam":
        return torch.optim.Adam(_groups(parameters.values(), weight_decay) if weight_decay else parameters.values(), lr)
    matrices = {key: p for key, p in parameters.items() if p.ndim >= 2 and key.startswith(("stack.", "mask."))}
    return Muon(matrices.values(), [p for key, p in parameters.items() if key not in matrices], lr)


def _groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for an optimiser of torch: those that decay, and the others."""
    listed = list(parameters)
    weights, others = [p for p in listed if p.ndim >= 2], [p for p in listed if p.ndim < 2]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others}]


def orthogonalised(matrices: Tensor) -> Tensor:
    """Nearest matrices with singular values about one, by a Newton-Schulz iteration. Shape: (B, M, N) -> (B, M, N).

    In bfloat16 where the processor multiplies it: the iteration comes within a few per cent of one in any case. In 32 bits by
    fewer operations, which add up what rounding does to small singular values, too much for bfloat16.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(_fast_type(matrices.device.type))
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    # Squares of what is left of channels that no longer learn are too small for a processor's quick way: twice the time.
    x = F.hardshrink(x, NEGLIGIBLE)
    if x.dtype == torch.float32:
        x = torch.bmm(_all_factors(x @ x.mT), x)
    else:
        for _ in range(ITERATIONS):
            x = torch.bmm(_factor(x @ x.mT), x)
    return (x.mT if tall else x).to(matrices.dtype)


def _factor(gram: Tensor) -> Tensor:
    """P = aI + bA + cAA, by which one iteration multiplies X. Shape: (B, M, M) -> (B, M, M)."""
    a, b, c = QUINTIC
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


def _all_factors(gram: Tensor) -> Tensor:
    """What all iterations multiply X by, from A alone: its next one is PXX^TP = PAP. Shape: (B, M, M) -> (B, M, M)."""
    factor = product = _factor(gram)
    for _ in range(ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = _factor(gram)
        product = factor @ product
    return product


@lru_cache
def _fast_type(device: str) -> torch.dtype:
    return torch.bfloat16 if native_precision(device) == "bf16-mixed" else torch.float32


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised over (output, everything else) for weights of two or more dimensions; Adam for the others.

    torch.optim.Muon takes two-dimensional weights only, and convolutions are what this project trains. Updates are scaled by
    0.2 sqrt(max(M, N)) to the size of Adam's, so that one learning rate serves both (Liu et al. 2025, section 2.2).

    Args:
        matrices: weights to orthogonalise the updates of.
        others: parameters for Adam.
        lr: learning rate of both.
        momentum: of Muon.
        betas: of Adam.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        groups = [{"params": list(matrices), "muon": True}, {"params": list(others), "muon": False}]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            learning = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["muon"]:
                self._update_matrices(learning, group)
            else:
                for parameter in learning:
                    _adam_update(parameter, self.state[parameter], group)
        return loss

    def _update_matrices(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Update by orthogonalised momentum, matrices of one shape together, which keeps threads busier than one by one."""
        alike: dict[tuple[int, ...], list[Tensor]] = {}
        for parameter in parameters:
            alike.setdefault((len(parameter), parameter[0].numel()), []).append(parameter)
        for shape, those in alike.items():
            directions = torch.stack([_direction(parameter, self.state[parameter], group) for parameter in those])
            for parameter, update in zip(those, orthogonalised(directions), strict=True):
                parameter.add_(update.view(parameter.shape), alpha=-group["lr"] * 0.2 * max(shape) ** 0.5)


def _direction(parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """Where momentum goes, after Nesterov, as a matrix (output, everything else)."""
    gradient = parameter.grad
    assert gradient is not None
    if not state:
        state["momentum"] = torch.zeros_like(parameter)
    momentum: Tensor = state["momentum"]
    momentum.mul_(group["momentum"]).add_(gradient)
    return gradient.add(momentum, alpha=group["momentum"]).flatten(1)


def _adam_update(parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    gradient = parameter.grad
    assert gradient is not None
    if not state:
        state.update(step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
    first, second = group["betas"]
    state["step"] += 1
    state["mean"].lerp_(gradient, 1 - first)
    state["square"].lerp_(gradient.square(), 1 - second)
    mean = state["mean"] / (1 - first ** state["step"])
    root = (state["square"] / (1 - second ** state["step"])).sqrt()
    parameter.addcdiv_(mean, root + 1e-8, value=-group["lr"])
