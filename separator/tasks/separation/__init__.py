"""Separating: files and folders, sound that comes live, and where it goes."""
