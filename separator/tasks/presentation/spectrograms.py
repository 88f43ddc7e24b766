"""Spectrograms of a mixture, its sources and their estimates, on one colour scale (Wu et al. 2021, Fig. 9)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from separator.tasks.pictures import write_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

WINDOW = 0.032  # s
HOP = 0.004  # s
RANGE = 70.0  # dB shown below the loudest point of the mixture
ROW_HEIGHT = 1.9  # inches
WIDTH = 11.0  # inches


def power_spectrogram(signal: NDArray[np.floating], sample_rate: int) -> NDArray[np.float64]:
    """Power in a Hann window of 32 ms every 4 ms. Shape: (T,) -> (frequencies from 0 to half the rate, frames)."""
    samples = round(WINDOW * sample_rate)
    transform = ShortTimeFFT(hann(samples, sym=False), hop=round(HOP * sample_rate), fs=sample_rate)
    padded = np.pad(np.asarray(signal, np.float64), (0, max(0, samples - len(signal))))
    power: NDArray[np.float64] = transform.spectrogram(padded)
    return power


def draw_spectrograms(
    path: Path, mixture: NDArray[np.floating], rows: Mapping[str, NDArray[np.floating]], sample_rate: int, title: str = ""
) -> None:
    """Draw the mixture, and below it one row for each entry of `rows` with a column for each source.

    Levels are in decibels relative to the loudest point of the mixture, on the same scale everywhere.

    Args:
        path: picture file; its suffix chooses the format.
        mixture: shape (T,).
        rows: what to show below, such as {"reference": sources, "ANN": estimates}; shapes (n_src, T).
        sample_rate: Hz.
        title: above all.

    Raises:
        UserError: the file cannot be written.
    """
    # Importing pyplot would choose a screen; a figure by itself draws to files on any machine.
    from matplotlib.figure import Figure

    reference = max(float(power_spectrogram(mixture, sample_rate).max()), np.finfo(float).tiny)
    columns = max(len(signals) for signals in rows.values())
    figure = Figure(figsize=(WIDTH, ROW_HEIGHT * (len(rows) + 1) + 0.6), layout="constrained")
    grid = figure.add_gridspec(len(rows) + 1, columns)
    axes: list[Axes] = [figure.add_subplot(grid[0, :])]
    image = show_levels(axes[0], mixture, sample_rate, reference, "mixture")
    for i, (name, signals) in enumerate(rows.items(), 1):
        for j, signal in enumerate(signals):
            axes.append(figure.add_subplot(grid[i, j], sharex=axes[0], sharey=axes[0]))
            show_levels(axes[-1], signal, sample_rate, reference, f"{name}, talker {j + 1}")
    for axis in axes:
        place = axis.get_subplotspec()
        axis.set_xlabel("time (s)" if place is not None and place.is_last_row() else "")
        axis.set_ylabel("frequency (kHz)" if place is not None and place.is_first_col() else "")
    figure.colorbar(image, ax=axes, label="level (dB, 0 is the loudest point of the mixture)", aspect=40)
    figure.suptitle(title)
    write_picture(path, figure, dpi=100)


def show_levels(axis: "Axes", signal: NDArray[np.floating], sample_rate: int, reference: float, title: str) -> "AxesImage":
    """Show the spectrogram of one signal, (T,), in decibels below the power `reference`; returns the image, for a scale."""
    power = power_spectrogram(signal, sample_rate) / reference
    levels = 10 * np.log10(np.maximum(power, 10 ** (-RANGE / 10)))
    axis.set_title(title, fontsize="medium")
    return axis.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-RANGE,
        vmax=0,
        extent=(0, len(signal) / sample_rate, 0, sample_rate / 2000),
    )
