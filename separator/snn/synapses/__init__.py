"""Incoming maps of a population of neurons, without neurons."""
