"""The one kind of error that a user can mend."""


class UserError(Exception):
    """Something the user can put right; the message is one line that says what and how.

    Commands print it without a traceback and exit with status 1. Every other exception is a defect of the program.
    """


class DivergedError(UserError):
    """Learning has left the range of numbers; what it had come to before may still be of use."""
