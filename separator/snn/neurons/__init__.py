"""Neuron models: pure functions on integers, with explicit state."""
