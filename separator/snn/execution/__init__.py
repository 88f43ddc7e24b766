"""Simulation of layers: kernels, dense tensors, and the definition that all of them equal."""
