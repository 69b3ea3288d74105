"""`lmkit plugins check`: whether classes keep the contract of their kind."""

from collections.abc import Sequence
from typing import Any

from lmkit.cli.plugins.options import parse, parser_of
from lmkit.testing.command import check_all


def run(arguments: Sequence[str]) -> int:
    """Prints a table for each class; gives 0 if all conform, 1 if not."""
    parser = parser_of("check", "Checks classes against the contract of their kind, and says what to mend.")
    parser.add_argument("targets", nargs="+", type=str, help="a plugin's file or folder, or the name of a class")
    parser.add_argument(
        "--options", type=dict[str, Any], default={}, help="of each class, as a recipe's init_args: '{hidden: 64}'"
    )
    options, plugins = parse(parser, arguments)
    return check_all(options.targets, plugins, options.options)
