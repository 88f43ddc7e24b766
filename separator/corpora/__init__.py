"""Speech corpora: reading them, listing mixtures, mixing."""
