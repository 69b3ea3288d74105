"""What a module written in Python defines, read out of its source by `ast`: nothing is imported, nothing runs."""

import ast
import re
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from lmkit.data.corpus.docstrings import Entry

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_PROPERTIES = {"property", "cached_property", "abstractproperty"}
_BOUND = {"classmethod", "staticmethod"}
_FAULTS = ("Error", "Exception", "Warning", "Exit", "Interrupt")  # how names of exceptions end

_ITSELF = re.compile(r"^\w+(, /)?(, )?")


class Import(NamedTuple):
    """A name that a module takes over from another; "*" for all."""

    module: str
    name: str
    known_as: str


class Module(NamedTuple):
    """A module of the library.

    Attributes:
        name: dotted.
        text: the document that the corpus makes of it.
        entries: the module itself, and all functions and classes in it; a coroutine's signature begins with `await`.
        imports: what it takes over from other modules.
        exported: `__all__`, where that is written out.
    """

    name: str
    text: str
    entries: list[Entry]
    imports: list[Import]
    exported: frozenset[str] | None


def parse(path: str, text: str) -> Module | None:
    """A module by its path below the library's folder and its source; none where that is no Python of this version."""
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    try:
        with warnings.catch_warnings(action="ignore"):  # of backslashes in texts
            tree = ast.parse(text)
    except SyntaxError:
        return None
    package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
    body = list(_flat(tree.body))
    entries = [Entry("module", "", "", _docstring(tree)), *_entries(body, "")]
    return Module(name, text, entries, list(_imports(body, package)), _exported(body))


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body, with those under `if`, `try` and `with`."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            for part in ("body", "handlers", "orelse", "finalbody"):
                for inner in getattr(node, part, []):
                    yield from _flat(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


def _entries(body: list[ast.stmt], within: str) -> Iterator[Entry]:
    for node in body:
        if isinstance(node, _Function):
            yield from _function(node, within)
        elif isinstance(node, ast.ClassDef):
            name = f"{within}{node.name}"
            inner = list(_flat(node.body))
            kind = "exception" if node.name.endswith(_FAULTS) else "class"
            yield Entry(kind, name, _constructor(node, inner), _docstring(node))
            yield from _entries(inner, f"{name}.")


def _function(node: _Function, within: str) -> Iterator[Entry]:
    marks = {_last_name(mark) for mark in node.decorator_list}
    if marks & {"overload", "setter", "deleter", "getter"}:
        return
    if within and marks & _PROPERTIES:
        yield Entry("property", within + node.name, "", _docstring(node))
        return
    kind = "function" if not within else "bound" if marks & _BOUND else "method"
    signature = _signature(node, skip=bool(within) and "staticmethod" not in marks)
    if not within and signature.startswith("(self"):  # a decorator makes something else of it
        signature = ""
    awaited = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    yield Entry(kind, within + node.name, awaited + signature, _docstring(node))


def _constructor(node: ast.ClassDef, body: list[ast.stmt]) -> str:
    """How the class is called; empty where that stands in another class, or is made by a decorator."""
    for inner in body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            return _signature(inner, skip=True)
    return "" if node.bases or node.keywords or node.decorator_list else "()"


def _signature(node: _Function, skip: bool) -> str:
    """The parameters as text, without the first where that is the object itself."""
    text = ast.unparse(node.args)
    return f"({_ITSELF.sub('', text) if skip else text})"


def _docstring(node: ast.Module | ast.ClassDef | _Function) -> str:
    return ast.get_docstring(node) or ""


def _last_name(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _imports(body: list[ast.stmt], package: str) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (Import(module, alias.name, alias.asname or alias.name) for alias in node.names)


def _exported(body: list[ast.stmt]) -> frozenset[str] | None:
    for node in body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            try:
                return frozenset(ast.literal_eval(node.value))
            except (ValueError, TypeError):
                return None
    return None
