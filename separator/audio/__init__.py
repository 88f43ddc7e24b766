"""Waves as arrays and files: reading, writing, resampling, levels, chunks."""
