"""`lmkit plugins`: what there is, what one part is, and a new one to begin with. One file a sub-command."""

import importlib
from collections.abc import Sequence

from lmkit.errors import UserError

SUBCOMMANDS = {
    "list": "the classes of each kind, or of one: lmkit plugins list norm",
    "show": "what a class is, its options and its cost: lmkit plugins show RMSNorm",
    "new": "write a file with a class to begin with: lmkit plugins new norm MyNorm",
    "check": "whether a class keeps the contract of its kind: lmkit plugins check my_norm.py",
}
"""Sub-command, which is the name of its file here, and its line of help."""

HELP = (
    "usage: lmkit plugins SUBCOMMAND [OPTIONS]\n\n"
    + "\n".join(f"  {name:6} {line}" for name, line in SUBCOMMANDS.items())
    + "\n\n`lmkit plugins SUBCOMMAND --help` lists its options."
)


def run(arguments: Sequence[str]) -> int:
    """Runs `plugins` and what follows it; gives the exit code.

    Raises:
        UserError: for every mistake in the command line or a plugin.
    """
    _, *rest = arguments
    if not rest or rest[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if rest[0] not in SUBCOMMANDS:
        raise UserError(f"plugins has no sub-command {rest[0]}: there are {', '.join(SUBCOMMANDS)}")
    return importlib.import_module(f"lmkit.cli.plugins.{rest[0]}").run(rest[1:]) or 0
