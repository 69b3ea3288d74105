"""The errors that the command line prints as one line: mistakes to mend (exit code 2), and runs that failed (1)."""


class UserError(ValueError):
    """Says what came, what is needed and what to do, with the values, in one line."""


class RunError(RuntimeError):
    """A run that cannot go on, such as one whose loss is no number; says what happened, when, and what to do."""
