"""Scores of networks side by side."""
