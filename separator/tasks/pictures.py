"""Figures become files."""

from pathlib import Path
from typing import TYPE_CHECKING

from separator.atomic import atomic_path
from separator.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_picture(path: Path, figure: "Figure", dpi: int = 120) -> None:
    """Write a figure to a file, whole or not at all; its suffix chooses the format. The figure's layout is fixed from then on.

    Raises:
        UserError: the file cannot be written, or its suffix is of no format.
    """
    lay_out(figure, dpi)
    with atomic_path(path) as temporary:
        try:
            figure.savefig(temporary, dpi=dpi)
        except ValueError as error:
            raise UserError(f"cannot draw {path}: {error}") from error


def lay_out(figure: "Figure", dpi: int) -> None:
    """Fix the places of all that a figure shows.

    `savefig` does it too, but by drawing the whole figure once more.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        figure.set_dpi(dpi)
        engine.execute(figure)
        figure.set_layout_engine(None)  # "none" keeps one that `savefig` draws for
