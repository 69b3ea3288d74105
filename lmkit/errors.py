"""The errors that the command line prints as one line: mistakes to mend (exit code 2), and runs that failed (1)."""

import os
import sys
import traceback


class UserError(ValueError):
    """Says what came, what is needed and what to do, with the values, in one line."""


class RunError(RuntimeError):
    """A run that cannot go on, such as one whose loss is no number; says what happened, when, and what to do."""


def located(error: BaseException, cls: type) -> str:
    """An exception in one line of some 200 characters, with the line of the class's file that it came from, if any."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    said = " ".join(str(error).split())
    line = f"{type(error).__name__}: {said}" if said else type(error).__name__
    line = line if len(line) <= 200 else f"{line[:199]}…"
    return f"{line} ({os.path.relpath(own[-1].filename)}:{own[-1].lineno})" if own else line
