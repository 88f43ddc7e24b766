"""Time of the training steps of a conversion."""
