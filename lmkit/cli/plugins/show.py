"""`lmkit plugins show`: what a class is, its options, what it costs, and the lines that put it into a recipe."""

import textwrap
from collections.abc import Sequence

from lmkit.cli.plugins.cost import Size, can_count, cost
from lmkit.cli.plugins.describe import (
    find_classes,
    given,
    options,
    paper,
    summary,
    type_in_words,
    value_in_words,
    where_from,
)
from lmkit.cli.plugins.example import example
from lmkit.cli.plugins.options import parse, parser_of
from lmkit.cli.plugins.snippet import SIZES, usage
from lmkit.cli.plugins.table import table, width_of_output
from lmkit.errors import UserError, located
from lmkit.kinds import KINDS, load


def run(arguments: Sequence[str]) -> None:
    """Prints one class, or all that have the name.

    Raises:
        UserError: there is none, or it cannot have the size that is asked for.
    """
    parser = parser_of("show", "Shows a class: options, parameters, FLOPs, and how a recipe uses it.")
    parser.add_argument("name", type=str, help="the class's name, as in a recipe")
    parser.add_argument("--dim", type=int, default=512, help="width D of the network around a layer")
    parser.add_argument("--heads", type=int, default=8, help="number of heads H")
    parser.add_argument("--context", type=int, default=1024, help="tokens of a row T")
    chosen, plugins = parse(parser, arguments)
    load(plugins)
    size = Size(chosen.dim, chosen.heads, chosen.context)
    print("\n\n".join(_page(cls, kind, size) for kind, cls in find_classes(chosen.name)))


def _page(cls: type, kind: str, size: Size) -> str:
    """All about one class."""
    width = width_of_output()
    number = f", arXiv:{paper(cls)}" if paper(cls) else ""
    parts = [f"{cls.__name__}: {kind}, {where_from(cls)}{number}"]
    if said := summary(cls):
        parts.append(textwrap.fill(said, max(width, 20)))
    if first := given(cls, KINDS[kind]):
        parts.append(f"Given by what uses it: {', '.join(first)}")
    rows = [
        (option.name, type_in_words(option.hint), value_in_words(option.default), option.help)
        for option in options(cls, len(KINDS[kind].given))
    ]
    parts.append(f"Options, with type and default:\n{table(rows, width)}" if rows else "No options.")
    if can_count(KINDS[kind]):
        parts.append(textwrap.fill(_cost(cls, kind, size), max(width, 20)))
    if shown := example(cls, kind):
        parts.append(f"An example:\n{textwrap.indent(shown, '  ')}")
    parts.append(usage(cls, kind))
    return "\n\n".join(parts)


def _cost(cls: type, kind: str, size: Size) -> str:
    at = f"At dim {size.dim}, {size.heads} heads, context {size.context}"
    if kind == "network":
        at += f", depth {SIZES['depth']}, vocab_size {SIZES['vocab_size']}"
    apart = ", logits apart" if "network" in KINDS[kind].given else ""
    try:
        counted = cost(cls, KINDS[kind], size)
    except UserError:
        raise
    except Exception as error:  # of its constructor
        return f"{at}, it cannot be built: {located(error, cls)}."
    flops = (
        f"FLOPs cannot be counted ({counted.flops})"
        if isinstance(counted.flops, str)
        else f"{counted.flops:,.0f} FLOPs a training token, forward and backward (of matrix products{apart})"
    )
    return f"{at}: {counted.parameters:,} parameters, {flops}."
