"""Images beside their reconstructions (Wu et al. 2021, Fig. 8)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from separator.tasks.pictures import write_picture

PAIRS = 6  # in a row
GAP = 3  # pixels between pairs; within a pair there is one
WIDTH = 1500  # screen pixels; a pixel becomes as many of them as fit
DPI = 100
MARGIN, NARROWEST = 0.4, 5.0  # inches for the title


def pair_up(images: NDArray[np.floating], reconstructions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pairs of an image and its reconstruction on white, row by row. Shapes: (N, C, H, W) twice -> (C, rows, columns)."""
    count, channels, height, width = images.shape
    columns = min(PAIRS, count)
    rows = -(-count // columns)
    grid = np.ones((channels, rows * (height + GAP) + GAP, columns * (2 * width + 1 + GAP) + GAP))
    for i, pair in enumerate(zip(images, reconstructions, strict=True)):
        top, left = GAP + i // columns * (height + GAP), GAP + i % columns * (2 * width + 1 + GAP)
        for at, image in zip((left, left + width + 1), pair, strict=True):
            grid[:, top : top + height, at : at + width] = np.clip(image, 0, 1)
    return grid


def draw_reconstructions(path: Path, images: NDArray[np.floating], reconstructions: NDArray[np.floating], title: str) -> None:
    """Draw images, each with its reconstruction on its right.

    Args:
        path: picture file; its suffix chooses the format.
        images: between 0 and 1, shape (N, C, H, W), grey or of three colours.
        reconstructions: of the same shape, clipped to where colours are.
        title: above all.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    grid = pair_up(images, reconstructions)
    scale = max(1, WIDTH // grid.shape[2])
    height, width = (n * scale / DPI for n in grid.shape[1:])
    figure = Figure(figsize=(max(width, NARROWEST), height + MARGIN), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, height / (height + MARGIN)))
    axes.imshow(grid[0] if len(grid) == 1 else grid.transpose(1, 2, 0), "gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    figure.suptitle(f"{title}\neach image with its reconstruction on its right", fontsize="small", y=0.995)
    write_picture(path, figure, DPI)
