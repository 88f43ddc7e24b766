"""Layers that are connected, run as one network, whole or piece by piece."""
