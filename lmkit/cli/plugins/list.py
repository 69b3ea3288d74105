"""`lmkit plugins list`: the classes of each kind, and the plugins that could not be loaded."""

import textwrap
from collections.abc import Sequence

from lmkit.cli.plugins.describe import paper, summary, usable, where_from
from lmkit.cli.plugins.options import parse, parser_of
from lmkit.cli.plugins.table import table, width_of_output
from lmkit.kinds import KINDS, check, find_kind
from lmkit.registry import FAILURES, is_own, try_plugins


def run(arguments: Sequence[str]) -> None:
    """Prints the list; a plugin that does not import is part of it."""
    parser = parser_of("list", "Lists the classes that a recipe can name, by kind: whose they are, paper, summary.")
    parser.add_argument("kind", nargs="?", type=str | None, default=None, help=f"one of {', '.join(KINDS)}; none: all")
    options, plugins = parse(parser, arguments)
    chosen = {options.kind: find_kind(options.kind)} if options.kind else KINDS
    check(try_plugins(plugins))
    width = width_of_output()
    parts = [_section(name, kind.base, width) for name, kind in chosen.items()]
    if FAILURES:
        rows = [(failure.plugin, failure.reason) for failure in FAILURES]
        parts.append(f"not loaded\n{table(rows, width)}")
    print("\n\n".join(parts))


def _section(name: str, base: type, width: int) -> str:
    """A kind: a line for each class, and the names alone of those that torch and Lightning bring."""
    lines = [name]
    known = usable(base)
    theirs: dict[str, list[str]] = {}
    for cls in known:
        if is_own(cls) and where_from(cls) != "built-in":
            theirs.setdefault(where_from(cls), []).append(cls.__name__)
    told = [cls for cls in known if cls.__name__ not in theirs.get(where_from(cls), ())]
    if told:
        lines.append(table([(cls.__name__, where_from(cls), paper(cls), summary(cls)) for cls in told], width))
    for whose, names in theirs.items():
        text = f"{whose}: {', '.join(names)}"
        lines.append(textwrap.fill(text, max(width, 20), initial_indent="  ", subsequent_indent="    "))
    return "\n".join(lines)
