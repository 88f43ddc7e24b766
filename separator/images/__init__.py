"""Sets of images to classify or to reconstruct: readers of their files, and how they are divided."""
