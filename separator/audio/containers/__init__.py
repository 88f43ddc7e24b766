"""Containers of sound, told by their bytes: where sound begins, ends, and is cut off."""
