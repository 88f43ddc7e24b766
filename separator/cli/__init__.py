"""Command lines: arguments in, exit status out; the work is done in `separator.tasks`."""
