"""The parser of every command: a mistake becomes a `UserError` of one line that says what to do."""

from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from lmkit.cli.explain import explain
from lmkit.errors import UserError


class Parser(LightningArgumentParser):
    """A jsonargparse parser that raises instead of printing its usage and leaving."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises the mistake in our words."""
        options = [option for action in self._actions for option in action.option_strings]
        raise UserError(explain(str(message), options)) from ex

    def add_method_arguments(self, *args: Any, **kwargs: Any) -> list[str]:
        """Adds a method's arguments, but not `weights_only`: checkpoints are always read so."""
        kwargs["skip"] = {*kwargs.get("skip", ()), "weights_only"}
        return super().add_method_arguments(*args, **kwargs)
