"""Contents of a model file, checked before anything is allocated."""
