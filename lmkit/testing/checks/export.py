"""How a layer leaves for another library: by the names of known parts, or with its own source."""

import ast
import inspect
import sys
from collections.abc import Iterator

from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.results import Failed, NotApplicable
from lmkit.testing.suite import check

TRAVELS = ("torch", "lmkit.layers", "lmkit.network", "lmkit.errors")
"""What the source of a layer may import beside the standard library, so that it can be written into one file."""


@check("export", LAYERS, "let the file import torch, lmkit.layers and the standard library only")
def travels(subject: Layer) -> str | None:
    """Known parts for a layer of lmkit; otherwise its source, which has to be one file that travels."""
    if subject.cls.__module__.partition(".")[0] == "lmkit":
        return "known parts"
    try:
        with open(inspect.getsourcefile(subject.cls) or "", encoding="utf-8") as file:  # noqa: PTH123
            tree = ast.parse(file.read())
    except (OSError, TypeError) as error:
        raise NotApplicable("its source is not in a file") from error
    foreign = sorted({name for name in _imports(tree) if not _travels(name)})
    if foreign:
        raise Failed(f"its file imports {', '.join(foreign)}")
    return "own modelling code (plugin)"


def _imports(tree: ast.Module) -> Iterator[str]:
    """The modules that a file imports; relative ones with their points."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "lmkit" and not node.level:
            yield from (f"lmkit.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def _travels(name: str) -> bool:
    inside = any(name == allowed or name.startswith(allowed + ".") for allowed in TRAVELS)
    return inside or name.partition(".")[0] in sys.stdlib_module_names
