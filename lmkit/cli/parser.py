"""The parser of every command: a mistake becomes a `UserError` of one line that says what to do."""

from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser

import lmkit.cli.own_defaults
import lmkit.cli.own_names  # noqa: F401 (both say what a class name means)
from lmkit.cli.explain import explain
from lmkit.cli.nulls import refuse_nulls
from lmkit.errors import UserError

_load_yaml = get_loader("yaml")


def _load(text: str) -> Any:
    """YAML in which `None` means null too: jsonargparse writes a part's options in Python before it reads them anew."""
    return _with_nulls(_load_yaml(text))


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nulls(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_nulls(part) for part in value]
    return None if value == "None" else value


set_loader("yaml", _load, exceptions=(yaml.YAMLError,))


@contextmanager
def mistakes_told() -> Iterator[None]:
    """Turns what Lightning and the parser raise for a user's mistake into a `UserError`."""
    try:
        yield
    except MisconfigurationException as error:
        raise UserError(str(error)) from error
    except ValueError as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause and cause is not error:  # of a constructor; the parser adds all that it was given, level by level
            raise cause from error
        raise


class Parser(LightningArgumentParser):
    """A jsonargparse parser that raises instead of printing its usage and leaving."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "exit_on_error": False})

    def count_batches(self) -> None:
        """Has a whole number of batches stay one: in Lightning's own types `typing` has put float before int."""
        for action in self._actions:
            if action.dest.startswith("trainer.limit_"):
                action._typehint = int | float | None  # type: ignore[attr-defined]

    def parse(self, arguments: Sequence[str]) -> Any:
        """Parses a command line.

        Raises:
            UserError: it is wrong.
        """
        try:
            config = self.parse_args(list(arguments))
        except ArgumentError as error:
            raise UserError(explain(str(error), self._options())) from error
        command = config.get("subcommand")
        refuse_nulls(config[command] if command else config)
        return config

    def add_method_arguments(self, *args: Any, **kwargs: Any) -> list[str]:
        """Adds a method's arguments, but not `weights_only`: checkpoints are always read so."""
        kwargs["skip"] = {*kwargs.get("skip", ()), "weights_only"}
        return super().add_method_arguments(*args, **kwargs)

    def _options(self) -> Iterator[str]:
        """The option strings of this parser and of its commands."""
        for action in self._actions:
            yield from action.option_strings
            for parser in (getattr(action, "choices", None) or {}).values() if action.dest == "subcommand" else ():
                yield from parser._options()
