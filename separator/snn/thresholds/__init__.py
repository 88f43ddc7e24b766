"""Firing thresholds: rules that set them from what a layer does on calibration batches."""
