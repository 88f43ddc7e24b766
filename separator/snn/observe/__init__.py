"""What networks do: activity, distributions, agreement, what a chip has to hold."""
