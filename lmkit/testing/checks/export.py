"""How a layer leaves for another library: by the names of known parts, or with its own source, which has to be in one
file and to stand on what is there: what the class uses of its file counts, and of what else that file holds, nothing.
"""

import ast
import inspect
import sys
from collections.abc import Iterator

from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.results import Failed, NotApplicable
from lmkit.testing.suite import check

TRAVELS = ("torch", "lmkit.layers", "lmkit.network", "lmkit.errors")
"""What the source of a layer may import beside the standard library, so that it can be written into one file."""

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@check("export", LAYERS, f"let what the class uses come from its file, the standard library, {', '.join(TRAVELS)}")
def travels(subject: Layer) -> str | None:
    """Known parts for a layer of lmkit; otherwise its source."""
    if subject.cls.__module__.partition(".")[0] == "lmkit":
        return "known parts"
    try:
        with open(inspect.getsourcefile(subject.cls) or "", encoding="utf-8") as file:  # noqa: PTH123
            tree = ast.parse(file.read())
    except (OSError, TypeError) as error:
        raise NotApplicable("its source is not in a file") from error
    used = _used(tree, subject.cls.__qualname__.partition(".")[0])
    foreign = sorted({name for name in used if not _travels(name)})
    if foreign:
        raise Failed(f"it uses {', '.join(foreign)}")
    return "own modelling code (plugin)"


def _used(tree: ast.Module, name: str) -> Iterator[str]:
    """The modules that a name of a file stands on: what the statements that bind it use, one after another."""
    names, read = {name, "*"}, set[ast.stmt]()
    while new := [node for node in tree.body if node not in read and names & {*_bound(node)}]:
        read.update(new)
        names.update(each.id for node in new for each in ast.walk(node) if isinstance(each, ast.Name))
    for node in read:
        inside = isinstance(node, DEFINITIONS)  # which run all of their imports
        yield from (module for bound, module in _imports(node) if inside or bound in names)


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement gives a meaning to; a star for those that its file does not tell."""
    if isinstance(node, DEFINITIONS):
        yield node.name
        return
    yield from (bound for bound, _ in _imports(node))
    for each in ast.walk(node):
        if isinstance(each, DEFINITIONS):
            yield each.name
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What is imported: the name that it is bound to, and the module; relative ones with their points."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            if isinstance(node, ast.Import):
                yield bound, alias.name
            elif node.module == "lmkit" and not node.level:
                yield bound, f"lmkit.{alias.name}"
            else:
                yield bound, "." * node.level + (node.module or "")


def _travels(name: str) -> bool:
    inside = any(name == allowed or name.startswith(allowed + ".") for allowed in TRAVELS)
    return inside or name.partition(".")[0] in sys.stdlib_module_names
