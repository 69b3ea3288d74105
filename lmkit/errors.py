"""The one error for what a user can mend: the command line prints it as one line and exits with 2."""


class UserError(ValueError):
    """Says what came, what is needed and what to do, with the values, in one line."""
