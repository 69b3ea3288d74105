"""What code the runs of an ablation are made by: the version of lmkit, and a hash of every plugin.

A recipe names a plugin's class, not what the class does: once its file is edited, runs of before and after must not
share a table. A package is hashed too, since the version of one that is being worked on stays.
"""

import json
import sys
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from lmkit import __version__
from lmkit.registry import PACKAGE


def code_of(modules: Collection[str], recipes: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The version of lmkit, and a hash of each plugin by its file or package.

    Args:
        modules: the modules and packages that were loaded as plugins, as `load_plugins` gives them.
        recipes: of all arms; packages that are installed and used by none are left out.
    """
    found, text = {"lmkit": __version__}, json.dumps(recipes)
    for module in sorted(modules):
        own = module.startswith(f"{PACKAGE}.")
        if own or f'"{module}.' in text:
            found[f"{module.partition('.')[2]}.py" if own else module] = _hash(module)
    return found


def changes(kept: dict[str, str], given: dict[str, str]) -> Iterator[str]:
    """What differs between two of them, in words; what only one of them has is told by the recipes."""
    for name, before in kept.items():
        if (now := given.get(name, before)) != before:
            yield f"lmkit was {before} and is {now}" if name == "lmkit" else f"the plugin {name} has changed"


def _hash(module: str) -> str:
    """Of a module's file, or of all Python files of a package."""
    loaded, digest = sys.modules[module], blake2b(digest_size=16)
    folders = [Path(path) for path in getattr(loaded, "__path__", ())]
    files = [(file, str(file.relative_to(folder))) for folder in folders for file in folder.rglob("*.py")]
    for file, name in sorted(files) or [(Path(loaded.__file__ or ""), "")]:
        digest.update(f"{name}\0".encode() + file.read_bytes())
    return digest.hexdigest()
