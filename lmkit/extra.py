"""Packages of the extras, imported where they are needed."""

import logging
from importlib import import_module
from typing import Any

from lmkit.errors import UserError

LOUD = ("torchao", "bitsandbytes.backends.cpu.ops", "torch.utils._pytree")
"""Loggers that warn of what is made for other machines, or meant for the package's authors, when it is imported."""


def needed(package: str, purpose: str, extra: str = "hf") -> Any:
    """A package, or a module of it.

    Args:
        package: its name.
        purpose: what needs it, as the beginning of a sentence: "a.parquet is Parquet, which".
        extra: of lmkit, which brings it.

    Raises:
        UserError: it is not installed.
    """
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        name = package.partition(".")[0]
        if (error.name or "").partition(".")[0] != name:
            raise
        raise UserError(f"{purpose} needs the package {name}: pip install 'lmkit[{extra}]'") from error
