"""Layers: analog ones, and the spiking ones that they become."""
