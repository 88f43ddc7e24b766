"""Variation of many waves at once, each in its own way, in torch on any device: `augmentation` and `vocal_tract` in batches.

Numbers differ from theirs by rounding. Speech played at another speed goes through another low-pass, of like steepness, and
differs above 0.8 of the highest frequency.
"""

from math import ceil

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from separator.corpora.training.augmentation import SILENT, fading
from separator.corpora.training.vocal_tract import FRAME, MOST_GAIN, ORDER, WHITE, frame_window, lag_window

ZEROS, BETA, ROLLOFF = 24, 4.0, 0.96  # of the low-pass: zeros to either side, Kaiser's beta, corner over the highest frequency
TAPS_AT_ONCE = 8  # of it: more take memory, fewer are more calls


def level(waves: Tensor) -> Tensor:
    """Root of the mean square of each. Shape: (S, T) -> (S,), float64."""
    return waves.double().square().mean(1).sqrt()


def gain_to(waves: Tensor, originals: Tensor) -> Tensor:
    """Gain at which waves are as loud as the originals; 1 for silent ones. Shapes: (S, T) -> (S, 1)."""
    loudness = level(waves)
    gain = torch.where(loudness.square() < SILENT, 1.0, level(originals) / loudness)
    return gain.float()[:, None]


def at_level_of(waves: Tensor, originals: Tensor) -> Tensor:
    """Waves as loud as the originals; silent ones as they are. Shapes: (S, T)."""
    return waves * gain_to(waves, originals)


def change_speed(waves: Tensor, speeds: Tensor, samples: int) -> Tensor:
    """Play waves at `speeds` times their speed, by a windowed sinc; pitch and formants go along.

    Args:
        waves: (S, T), as long as is heard of any of them, zeros behind it.
        speeds: of each, above 1 for faster, (S,).
        samples: to return of each.

    Returns:
        (S, samples).
    """
    corners = ROLLOFF / speeds.clamp_min(1)[:, None]
    place = torch.arange(samples, device=waves.device) * speeds.double()[:, None]
    whole = place.floor()
    part, first = (place - whole).float(), whole.long()
    reach = ceil(ZEROS / float(corners.min()))
    # Behind the last sample that is wanted of the fastest wave, and before the first one, there are zeros.
    padded = torch.nn.functional.pad(waves, (reach, reach + max(0, int(first[:, -1].max()) + 1 - waves.shape[1])))
    corners, played = corners.float(), torch.zeros_like(part)
    bell = torch.special.i0(torch.tensor(BETA)).item()
    for taps in torch.split(torch.arange(1 - reach, reach + 1, device=waves.device), TAPS_AT_ONCE):
        distance = (taps - part[..., None]) * corners[..., None]  # in zeros of the sinc, (S, samples, taps)
        window = torch.special.i0(BETA * (1 - (distance / ZEROS).square()).clamp_min(0).sqrt()) / bell
        window = torch.where(distance.abs() < ZEROS, window, 0)
        heard = padded.gather(1, (first[..., None] + (reach + taps)).flatten(1)).view_as(distance)
        played += (heard * torch.sinc(distance) * window).sum(-1)
    return played * corners


def move_resonances(waves: Tensor, ratios: Tensor, sample_rate: int) -> Tensor:
    """Move the resonances of voices; see `vocal_tract.move_resonances`.

    Args:
        waves: (S, T).
        ratios: above 1 for a shorter vocal tract, (S,).
        sample_rate: Hz.
    """
    hop, samples = round(FRAME * sample_rate / 2), waves.shape[1]
    size, frames = 2 * hop, -(-samples // hop) + 1
    window = torch.from_numpy(frame_window(size)).to(waves.device)
    padded = waves.new_zeros(len(waves), (frames + 1) * hop, dtype=torch.float64)
    padded[:, hop : hop + samples] = waves
    spectrum = torch.fft.rfft(padded.unfold(1, size, hop) * window, 2 * size)
    shaped = torch.fft.irfft(spectrum * _gains(spectrum, ratios, sample_rate), 2 * size)[..., :size] * window
    out = waves.new_zeros(len(waves), frames + 1, hop, dtype=torch.float64)
    out[:, :-1] += shaped[..., :hop]
    out[:, 1:] += shaped[..., hop:]
    moved: Tensor = out.flatten(1)[:, hop : hop + samples].float()
    return moved


def _gains(spectrum: Tensor, ratios: Tensor, sample_rate: int) -> Tensor:
    """Gain of each bin that moves the envelope of frames (S, F, bins) to `ratios` (S,) times its frequencies."""
    bins = spectrum.shape[2]
    size = 2 * (bins - 1)
    power = spectrum.real.square() + spectrum.imag.square()
    autocorrelation = torch.fft.irfft(power, size)[..., : ORDER + 1]
    autocorrelation = autocorrelation * torch.from_numpy(lag_window(sample_rate)).to(spectrum.device)
    autocorrelation[..., 0] = autocorrelation[..., 0] * (1 + WHITE) + torch.finfo(torch.float64).tiny
    filters = torch.fft.rfft(_linear_prediction(autocorrelation), size)
    inverse = filters.real.square() + filters.imag.square()
    place = (torch.arange(bins, device=spectrum.device) / ratios[:, None]).clamp_max(bins - 1)
    below = place.long().clamp_max(bins - 2)
    part = (place - below)[:, None]
    lower, upper = (inverse.gather(2, i[:, None].expand_as(inverse)) for i in (below, below + 1))
    moved = lower * (1 - part) + upper * part
    gains: Tensor = (inverse / moved).sqrt().clamp(1 / MOST_GAIN, MOST_GAIN)
    return gains


def _linear_prediction(autocorrelation: Tensor) -> Tensor:
    """Coefficients of prediction error filters, by Levinson's and Durbin's recursion. Shapes: (..., ORDER + 1)."""
    filters = torch.zeros_like(autocorrelation)
    filters[..., 0] = 1
    error = autocorrelation[..., :1].clone()
    for i in range(1, ORDER + 1):
        reflection = -(filters[..., :i] * autocorrelation[..., 1 : i + 1].flip(-1)).sum(-1, keepdim=True) / error
        filters[..., 1 : i + 1] += reflection * filters[..., :i].flip(-1)
        error = error * (1 - reflection.square())
    return filters


def equalise(waves: Tensor, shelves: Tensor, tail: int) -> Tensor:
    """Waves through a filter each, at the level they had.

    Args:
        waves: (S, T).
        shelves: coefficients b and a of each, (S, 2, 3).
        tail: samples within which their responses have died away.
    """
    size = next_fast_len(waves.shape[1] + tail, real=True)
    b, a = torch.fft.rfft(shelves, size).unbind(1)
    return at_level_of(_filtered(waves, (b / a).to(torch.complex64), size), waves)


def reverberate(waves: Tensor, responses: Tensor) -> Tensor:
    """Waves (S, T) in rooms of these impulse responses (S, L), at the level they had; the tail after T is cut off."""
    size = next_fast_len(waves.shape[1] + responses.shape[1] - 1, real=True)
    return at_level_of(_filtered(waves, torch.fft.rfft(responses, size), size), waves)


def _filtered(waves: Tensor, response: Tensor, size: int) -> Tensor:
    """Waves (S, T) through filters by their responses at the frequencies of a transform of so many samples."""
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(waves, size) * response, size)[:, : waves.shape[1]]
    return filtered


def silence(waves: Tensor, spans: Tensor, fade: int) -> Tensor:
    """Waves (S, T) with zeros in a span each, (S, 2); `fade` samples beside it fade out and in."""
    place = torch.arange(waves.shape[1], device=waves.device)
    start, stop = spans.long()[..., None].unbind(1)
    away = torch.maximum(start - place, place - stop + 1).clamp(0, fade + 1)  # samples, 0 within
    ramp = torch.from_numpy(fading(fade)).to(waves.device)
    envelope = torch.cat([ramp.new_zeros(1), ramp.flip(0), ramp.new_ones(1)])
    return waves * envelope[away]
