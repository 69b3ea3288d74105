"""Packages that come with an extra of lmkit."""

from importlib import import_module
from typing import Any

from lmkit.errors import UserError


def package(module: str, what: str, extra: str) -> Any:
    """A module of a package that may not be installed.

    Args:
        module: its name.
        what: needs it, as an error says: "a.parquet is Parquet, which".
        extra: of lmkit, that brings it.

    Raises:
        UserError: it is not installed.
    """
    top = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != top:
            raise
        raise UserError(f"{what} needs the package {top}: pip install 'lmkit[{extra}]'") from error
