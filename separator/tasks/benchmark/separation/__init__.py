"""Time and memory of separating sound, and whether the spikes are right."""
