"""The packages of the extra `lmkit[hf]`, imported where they are needed."""

from importlib import import_module
from typing import Any

from lmkit.errors import UserError


def needed(package: str, purpose: str) -> Any:
    """A package, or a module of it.

    Args:
        package: its name.
        purpose: what needs it, as the beginning of a sentence.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or not package.startswith(error.name):
            raise
        raise UserError(f"{purpose} needs the package {package.partition('.')[0]}: pip install 'lmkit[hf]'") from error
