"""Spiking networks at every time step of a run: what they decide, what they have spent, how near they are to analog ones."""
