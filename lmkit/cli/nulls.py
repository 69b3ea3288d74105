"""A part that must be there is not `null`: jsonargparse lets null pass for whatever a class makes."""

from collections.abc import Callable
from typing import Any, get_origin

from jsonargparse import Namespace
from jsonargparse._util import import_object

from lmkit.errors import UserError
from lmkit.kinds import KINDS, hints, leaves


def refuse_nulls(config: Any, key: str = "") -> None:
    """Looks through a parsed recipe.

    Args:
        config: the recipe, or something within it.
        key: where that is.

    Raises:
        UserError: a part is null whose type does not allow it.
    """
    if isinstance(config, list):
        for entry in config:
            refuse_nulls(entry, key)
    elif isinstance(config, Namespace):
        path = config.get("class_path")
        types = hints(import_object(path)) if path else {}
        for name, value in vars(config.get("init_args", config)).items():
            place = f"{key}.{name}".lstrip(".")
            if value is None and get_origin(types.get(name)) is Callable:
                raise UserError(f"{place} is null, but must be there: {_choice(types[name])}")
            refuse_nulls(value, place)


def _choice(hint: Any) -> str:
    made = [leaf.cls for leaf in leaves(hint) if isinstance(leaf.cls, type)]
    kinds = [name for name, kind in KINDS.items() if any(issubclass(cls, kind.base) for cls in made)]
    return f"choose a class, `lmkit plugins list {kinds[0]}` lists them" if kinds else "name what makes it"
