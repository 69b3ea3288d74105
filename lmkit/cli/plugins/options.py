"""What the sub-commands of `lmkit plugins` share: their parser, and the options that name plugins."""

from collections.abc import Sequence
from typing import Any

import lmkit.callbacks  # noqa: F401 (known by their class names once they are imported)
from lmkit.cli.parser import Parser
from lmkit.cli.recipes import read_recipes


def parser_of(name: str, description: str) -> Parser:
    """A parser that knows the options by which plugins are named."""
    parser = Parser(prog=f"lmkit plugins {name}", description=description)
    parser.add_argument("-c", "--config", type=str | None, default=None, help="a recipe whose plugins are loaded too")
    parser.add_argument("--plugins", type=list[str], default=[], help="plugin files, folders or modules")
    return parser


def parse(parser: Parser, arguments: Sequence[str]) -> tuple[Any, list[str]]:
    """The options, and the plugins that these and the recipes name, files as absolute paths.

    Raises:
        UserError: something in them is wrong.
    """
    recipes = read_recipes(arguments)
    return parser.parse(recipes.arguments), recipes.plugins
