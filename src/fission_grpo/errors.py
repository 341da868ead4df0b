"""The one base of errors that a user can mend: the command line prints them in one line and exits with 2."""


class UserError(Exception):
    """Says what is wrong, where, and what to do about it."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
