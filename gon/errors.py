"""Errors that a person can act on; the command line prints them without a traceback."""


class GonError(Exception):
    """Something went wrong that the message explains; the command ends with status 1.

    The message names the file, the key, the value and what is allowed, as far as each applies. One that has
    grown beyond reading, with a value of any size from a file, is cut in its middle.
    """

    exit_status = 1

    def __init__(self, message: str) -> None:
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 2 :]}"
        super().__init__(message)


_LONGEST = 4000
"""Characters of a message."""


class UsageError(GonError):
    """The person asked for something that does not exist or is not allowed; status 2."""

    exit_status = 2
