"""A training while it runs, and when it is gone on with: averaged weights, checkpoints, logs, the same steps again."""
