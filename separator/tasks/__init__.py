"""What a person asks for: separate, train, convert, evaluate."""
