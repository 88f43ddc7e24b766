"""Observations of networks: activity, distributions, agreement, the load that a chip has to hold."""
