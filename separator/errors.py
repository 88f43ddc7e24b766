"""The one kind of error that a user can mend."""

import os


class UserError(Exception):
    """Something the user can put right; the message is one line that says what and how.

    Commands print it without a traceback and exit with its status. Every other exception is a defect of the program.
    """

    status = 1


def mendable(error: BaseException) -> UserError | None:
    """Error that the user can put right, such as a name that is too long or a full disk; None for other defects."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError):
        return UserError("out of memory; take a shorter --segment")
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        return UserError(reason if error.filename is None else f"cannot use {os.fsdecode(error.filename)}: {reason}")
    return None


class UsageError(UserError):
    """What a command line asks for has no sense, whatever the files."""

    status = 2


class DivergedError(UserError):
    """Learning has left the range of numbers; what it had come to before may still be of use."""

    status = 3
