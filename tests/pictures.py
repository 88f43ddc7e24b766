"""Pictures that are put together but not rendered, which takes most of the time of a small conversion."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from separator.tasks import pictures


def leave_blank(patched: pytest.MonkeyPatch) -> None:
    """Have figures saved blank, files of their size, for as long as the patch lasts."""

    def blank(figure: Figure, path: Path, dpi: float) -> None:
        width, height = figure.get_size_inches() * dpi
        Image.new("RGB", (round(width), round(height))).save(path)

    patched.setattr(pictures, "lay_out", lambda figure, dpi: None)
    patched.setattr(Figure, "savefig", blank)
