"""Errors that a person can act on; the command line prints them without a traceback."""


class GonError(Exception):
    """Something went wrong that the message explains; the command ends with status 1.

    The message names the file, the key, the value and what is allowed, as far as each applies.
    """

    exit_status = 1


class UsageError(GonError):
    """The person asked for something that does not exist or is not allowed; status 2."""

    exit_status = 2
