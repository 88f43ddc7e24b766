"""Tasks that a person asks for: separate, train, convert, evaluate."""
