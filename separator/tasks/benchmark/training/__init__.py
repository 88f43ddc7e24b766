"""Time of training steps, and of making the mixtures for them."""
