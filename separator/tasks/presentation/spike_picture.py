"""A mixture, its talkers, and the spikes of one layer that separates them, on one time axis."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from separator.snn.spikes.trains import Spikes
from separator.snn.stack.simulation import LayerRun
from separator.tasks.pictures import write_picture
from separator.tasks.presentation.spectrograms import WIDTH, power_spectrogram, show_levels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from separator.models.tasnet import TasNet

HEIGHT = 6.4  # inches


@torch.no_grad()
def layer_spikes(network: "TasNet", mixture: NDArray[np.floating], layer: int) -> NDArray[np.int64]:
    """Count the spikes of each neuron of one layer, frame by frame.

    Args:
        network: a spiking network.
        mixture: at the network's sample rate, shape (T,).
        layer: position in the stack; neither the last one, which fires no spikes, nor behind it.

    Returns:
        Spikes within the time window. Shape: (channels, frames).

    Raises:
        ValueError: the layer fires no spikes.
    """
    found: list[NDArray[np.int64]] = []

    def observe(run: LayerRun) -> None:
        if run.position == layer and isinstance(run.outcome, Spikes):
            found.append(run.outcome.values[0, :, 0].cpu().numpy().astype(np.int64))

    before, network.stack.observer = network.stack.observer, observe
    try:
        network(torch.from_numpy(np.asarray(mixture, np.float32))[None].to(next(network.buffers()).device))
    finally:
        network.stack.observer = before
    if not found:
        raise ValueError(f"layer {layer} fires no spikes")
    return found[0]


def draw_spikes(
    path: Path,
    mixture: NDArray[np.floating],
    sources: NDArray[np.floating],
    spikes: NDArray[np.integer],
    sample_rate: int,
    layer: str,
    window: int,
) -> None:
    """Write `spike_figure` to a file.

    Args:
        path: picture file; its suffix chooses the format.
        mixture: see `spike_figure`, as all that follow.
        sources: likewise.
        spikes: likewise.
        sample_rate: Hz.
        layer: what the neurons are.
        window: time steps.

    Raises:
        UserError: the file cannot be written.
    """
    figure = spike_figure(mixture, sources, spikes, sample_rate, layer, window)
    write_picture(path, figure, dpi=100)


def spike_figure(
    mixture: NDArray[np.floating],
    sources: NDArray[np.floating],
    spikes: NDArray[np.integer],
    sample_rate: int,
    layer: str,
    window: int,
) -> "Figure":
    """Draw spectrograms of a mixture and of its talkers as separated, and beneath them spikes, darker where there are more.

    Args:
        mixture: shape (T,).
        sources: shape (n_src, T).
        spikes: of each neuron in each frame, shape (channels, frames); the frames span the mixture.
        sample_rate: Hz.
        layer: what the neurons are.
        window: the most spikes that a neuron can fire in a frame, time steps.
    """
    # Importing pyplot would choose a screen; a figure by itself draws to files on any machine.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    rows = figure.subplots(len(sources) + 2, 1, sharex=True)
    reference = max(float(power_spectrogram(mixture, sample_rate).max()), np.finfo(float).tiny)
    titles = ["mixture", *(f"talker {number}, as separated" for number in range(1, len(sources) + 1))]
    for axes, signal, title in zip(rows, [mixture, *sources], titles, strict=False):
        levels = show_levels(axes, signal, sample_rate, reference, title)
        axes.set_ylabel("kHz")
    figure.colorbar(levels, ax=rows[:-1], label="level (dB)", aspect=40)
    seconds, last = len(mixture) / sample_rate, rows[-1]
    dots = last.imshow(
        spikes,
        origin="lower",
        aspect="auto",
        cmap="Greys",
        vmin=0,
        vmax=window,
        interpolation="antialiased",
        extent=(0, seconds, -0.5, len(spikes) - 0.5),
    )
    last.set_title(f"spikes of {layer}, {len(spikes)} neurons", fontsize="medium")
    last.set(xlabel="time (s)", ylabel="neuron")
    figure.colorbar(dots, ax=last, label="spikes a frame", aspect=12)
    return figure
