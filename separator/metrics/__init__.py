"""How well talkers were separated."""
