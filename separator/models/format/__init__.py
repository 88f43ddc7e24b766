"""What a model file holds, checked before anything is allocated."""
