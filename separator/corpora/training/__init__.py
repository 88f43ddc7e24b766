"""Mixtures to train on, made as they are needed: speech in memory, pairs, surroundings; plans, and waves made from them."""
