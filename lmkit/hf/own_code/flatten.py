"""Code of several packages brought into one folder, whose files import each other by relative imports."""

import ast
import sys
from collections.abc import Collection, Iterator

from lmkit.errors import UserError
from lmkit.hf.own_code.building_lmkit import flat_name
from lmkit.hf.own_code.imports import Origin, absolute, file_of, imports_of, origin_of, tree_of

AT_HAND = {
    *("torch", "transformers", "filelock", "fsspec", "huggingface_hub", "jinja2", "networkx", "numpy", "packaging"),
    *("regex", "safetensors", "sympy", "tokenizers", "tqdm", "typing_extensions", "yaml"),
}
"""What comes with torch and transformers."""


def gather(start: Collection[str], packages: Collection[str]) -> list[str]:
    """The modules that some modules need, themselves included, in alphabetical order.

    Args:
        start: the modules.
        packages: top-level packages whose code is followed; what others hold is to be installed.

    Raises:
        UserError: one has no file, two would be one file, or an import cannot be made relative.
    """
    found: set[str] = set()
    waiting = set(start)
    while waiting:
        found.add(module := waiting.pop())
        waiting |= {origin.module for origin, _ in _needs(module, packages)} - found
    flat: dict[str, str] = {}
    for module in sorted(found):
        if (other := flat.setdefault(flat_name(module), module)) != module:
            raise UserError(f"{other} and {module} would both be exported as {flat_name(module)}.py: rename one")
    return sorted(found)


def flattened(module: str, packages: Collection[str]) -> str:
    """The code of a module, with imports from other files of the folder where it imports from `packages`."""
    code = file_of(module).read_bytes()
    starts = [0]
    for line in code.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in sorted(_own_imports(module, packages), key=lambda node: (node.lineno, node.col_offset), reverse=True):
        first, last = starts[node.lineno - 1] + node.col_offset, starts[(node.end_lineno or 0) - 1]
        before = code[starts[node.lineno - 1] : first]
        between = b"; " if before.strip() else b"\n" + before
        lines = between.join(line.encode() for line in _relative(module, node))
        code = code[:first] + lines + code[last + (node.end_col_offset or 0) :]
    return code.decode()


def to_install(modules: Collection[str], packages: Collection[str], at_once: bool = False) -> list[str]:
    """Packages that modules import and that do not come with torch and transformers.

    Args:
        modules: those that are exported.
        packages: top-level packages whose code is exported with them.
        at_once: whether only those are meant that are imported in any case, at the top of a file.
    """
    found = set()
    for module in modules:
        nodes = tree_of(module).body if at_once else imports_of(module)
        for node in nodes:
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(absolute(module, node).partition(".")[0])
    return sorted(found - AT_HAND - set(sys.stdlib_module_names) - set(packages) - {""})


def _own_imports(module: str, packages: Collection[str]) -> Iterator[ast.ImportFrom | ast.Import]:
    """The imports of a module that name what is exported with it."""
    for node in imports_of(module):
        if isinstance(node, ast.ImportFrom):
            if absolute(module, node).partition(".")[0] in packages:
                yield node
        elif any(alias.name.partition(".")[0] in packages for alias in node.names):
            yield node


def _needs(module: str, packages: Collection[str]) -> Iterator[tuple[Origin, str]]:
    """What a module imports from the code that is exported, and how it calls it."""
    for node in _own_imports(module, packages):
        yield from _origins(module, node)


def _origins(module: str, node: ast.ImportFrom | ast.Import) -> Iterator[tuple[Origin, str]]:
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            if alias.name == "*":
                yield Origin(absolute(module, node), "*"), "*"
            else:
                yield origin_of(absolute(module, node), alias.name), alias.asname or alias.name
        elif alias.asname and len(node.names) == 1:
            yield Origin(alias.name, None), alias.asname
        else:
            raise UserError(
                f"{file_of(module)}:{node.lineno} imports {alias.name} as a whole, which an exported folder cannot: "
                f"write `from {alias.name} import ...`, with the names that are used"
            )


def _relative(module: str, node: ast.ImportFrom | ast.Import) -> list[str]:
    """The same import, out of the folder: a line for each file."""
    names: dict[str, list[str]] = {}
    for (source, name), called in _origins(module, node):
        place, wanted = (".", flat_name(source)) if name is None else (f".{flat_name(source)}", name)
        names.setdefault(place, []).append(wanted if wanted == called else f"{wanted} as {called}")
    return [f"from {place} import {', '.join(wanted)}" for place, wanted in names.items()]
