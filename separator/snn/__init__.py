"""Spiking networks: neurons, conversion, progressive tandem learning. Knows nothing of speech."""
