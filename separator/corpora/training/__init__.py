"""Mixtures to train on, made as they are needed: speech in memory, pairs, variations, surroundings."""
