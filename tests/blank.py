"""Pictures put together but not rendered, which takes most of the time of a small conversion: files have their size.

They are rendered by the tests of presentation, and from end to end by those of two recipes, for speech and for images.
"""

from typing import Any

from matplotlib.figure import Figure
from PIL import Image

ASKED = "SEPARATOR_TESTS_BLANK_PICTURES"  # in the environment of a recipe that is run


def save_blank(figure: Figure, path: Any, dpi: float, format: str = "png") -> None:
    """In place of `Figure.savefig`."""
    width, height = figure.get_size_inches() * dpi
    Image.new("RGB", (round(width), round(height))).save(path, format)
