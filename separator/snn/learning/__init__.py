"""Learning rules: layers that spike and learn."""
