"""The network of a folder that came with code from lmkit, made of the classes that are known here, not of that code."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmkit.errors import UserError
from lmkit.hf.own_code.recipe import KINDS
from lmkit.hf.own_code.write import PREFIX
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.rules import Rename
from lmkit.registry import concrete, is_own
from lmkit.registry.loading import PACKAGE

OWN = Family(
    name="lmkit",
    architecture="LmkitForCausalLM",
    keys=(),
    weights=(Rename(PREFIX + "{all}", "{all}"),),
    prefix=PREFIX,
)
"""Whose config holds a recipe, and whose tensors are called as the network's are."""

_WORD = re.compile(r"[\w-]{0,99}")  # no longer than a file's name may be


def recipe_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe that a config holds, lmkit's own parts by their names alone.

    Raises:
        UserError: there is none, or it names what is not known here, which a parser would import.
    """
    recipe = config.get("recipe")
    if not isinstance(recipe, dict) or "class_path" not in recipe or not isinstance(recipe.get("init_args"), dict):
        raise UserError("config.json says model_type: 'lmkit' but holds no recipe: get the file again")
    parts = {f"{cls.__module__}.{cls.__qualname__}": cls for kind in KINDS for cls in concrete(kind)}
    known = {path: cls.__name__ if is_own(cls) else path for path, cls in parts.items()}
    found: dict[str, Any] = _named(recipe, known)
    return found


def _named(value: Any, known: Mapping[str, str]) -> Any:
    """A recipe, or a value in one, whose class paths are names."""
    if isinstance(value, list):
        return [_named(item, known) for item in value]
    if isinstance(value, dict):
        named = {key: _named(item, known) for key, item in value.items() if key != "class_path"}
        return {"class_path": _name(value["class_path"], known), **named} if "class_path" in value else named
    return _name(value, known) if isinstance(value, str) and not _is_word(value) else value


def _is_word(value: str) -> bool:
    """Whether a parser takes it for a word and no more: not for YAML, the path of a class, or that of a file."""
    return bool(_WORD.fullmatch(value)) and not Path(value).is_file()


def _name(path: Any, known: Mapping[str, str]) -> str:
    if path in known.values():
        return str(path)
    if not isinstance(path, str) or path not in known:
        module = str(path)[:80].rpartition(".")[0]
        brought = (
            f"give its file, {module.rpartition('.')[2]}.py, as --plugins"
            if module.startswith(PACKAGE)
            else (f"install the package of {module}, or give it as --plugins")
        )
        raise UserError(
            f"config.json names the class {str(path)[:80]!r}, which is neither lmkit's nor of a plugin that is loaded, "
            f"and code in the folder is not run: {brought}"
        )
    return known[path]
