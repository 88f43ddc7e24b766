"""The commands of `separator`, one a module: `add_arguments(parser)` and `run(arguments) -> exit status`."""
