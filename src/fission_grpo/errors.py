"""The one base of errors that a user can mend: the command line prints them in one line and exits with 2."""


class UserError(Exception):
    """Says what is wrong, where, and what to do about it."""
