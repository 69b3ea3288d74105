"""The package `gguf` of the extra `lmkit[gguf]`, imported where it is needed."""

from importlib import import_module
from typing import Any

from lmkit.errors import UserError


def needed() -> Any:
    """The package.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module("gguf")
    except ModuleNotFoundError as error:
        if error.name != "gguf":
            raise
        raise UserError("writing GGUF needs the package gguf: pip install 'lmkit[gguf]'") from error
