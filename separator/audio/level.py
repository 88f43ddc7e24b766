"""Levels of separated sources: sums that meet the mixture, peaks that meet full scale."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ClipPolicy = Literal["rescale", "clamp", "none"]
LOUDEST = 32767 / 32768  # the largest 16-bit sample
# Directions that carry less than this part of the sources' energy say nothing about their gains.
RANK_TOLERANCE = 1e-6
# No source may carry more than this many times the mixture's energy: it would be a sum of large terms that cancel.
MAX_ENERGY = 4.0


@dataclass(frozen=True)
class NormalEquations:
    """Inner products that least squares needs of a mixture m and its estimates s_i; pieces of a stream add up."""

    gram: NDArray[np.float64]  # <s_i, s_j>, (n_src, n_src)
    cross: NDArray[np.float64]  # <s_i, m>, (n_src,)
    energy: float  # <m, m>

    def __add__(self, other: "NormalEquations") -> "NormalEquations":
        return NormalEquations(self.gram + other.gram, self.cross + other.cross, self.energy + other.energy)


def normal_equations(mixture: NDArray[np.floating], estimates: NDArray[np.floating]) -> NormalEquations:
    """Inner products of a mixture (T,) and its estimates (n_src, T), in double precision."""
    waves = np.concatenate([estimates, mixture[None]]).astype(np.float64)
    # Not as a matrix product: OpenBLAS would leave threads spinning, one on each core, while the network computes.
    products = np.einsum("it,jt->ij", waves, waves)
    return NormalEquations(products[:-1, :-1], products[:-1, -1], float(products[-1, -1]))


def mixture_gains(equations: NormalEquations) -> NDArray[np.float64]:
    """Gains g with which the sources add up to the mixture: the least-squares solution of sum_i g_i s_i = m.

    Estimates trained on a scale-invariant loss have arbitrary levels; this gives them back. Sources that are copies of each
    other share the mixture equally. Where least squares would turn a source over, mute it or make it far louder than the
    mixture, all sources get one common gain instead, with which their sum is as loud as the mixture. A silent source keeps
    gain 1.

    Returns:
        Gains, (n_src,), never negative.
    """
    norms = np.sqrt(np.diag(equations.gram))
    audible = norms > 0
    gains = np.ones_like(norms)
    if not audible.any():
        return gains
    # In units of each source's own norm the system is well scaled, whatever the levels are.
    scale = norms[audible]
    normalised = equations.gram[np.ix_(audible, audible)] / np.outer(scale, scale)
    levels = np.linalg.lstsq(normalised, equations.cross[audible] / scale, rcond=RANK_TOLERANCE)[0]
    sane = (levels > 0) & (levels**2 <= MAX_ENERGY * equations.energy)
    gains[audible] = levels / scale if sane.all() else _common_gain(equations)
    return gains


def _common_gain(equations: NormalEquations) -> float:
    """Gain that gives the sum of the sources, or each by itself where they cancel, the mixture's energy."""
    apart = float(np.trace(equations.gram))
    together = float(equations.gram.sum())
    return math.sqrt(equations.energy / (together if together > RANK_TOLERANCE * apart else apart))


def fit_peak(peak: float) -> float:
    """Return the gain, at most 1, with which a peak of `peak` fits full scale."""
    return min(1.0, LOUDEST / peak) if peak > 0 else 1.0
