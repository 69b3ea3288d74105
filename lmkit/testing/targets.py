"""What a target on the command line means: a plugin's file, a folder of them, or the name of a class."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lmkit.errors import UserError
from lmkit.registry import concrete, is_own, load_plugins, near, origin
from lmkit.testing.given import EVERY


def resolve(target: str, plugins: Sequence[str] = ()) -> list[type]:
    """The classes that a target means.

    Args:
        target: a .py file, a folder of them, or the name of a class that is built in or a plugin's.
        plugins: imported before, beside those of installed packages.

    Raises:
        UserError: there is no such file or class, or no class of a kind in the file.
    """
    path = Path(target)
    if path.suffix == ".py" or path.is_dir():
        load_plugins([*plugins, target])
        inside = sorted((cls for cls in known() if _lies_in(cls, path.resolve())), key=_place)
        if not inside:
            kinds = ", ".join(base.__name__ for base in EVERY)
            raise UserError(f"{target} defines no class of a kind: make one a subclass of one of {kinds}")
        return inside
    loaded = load_plugins(plugins)
    called = [cls for cls in known() if target in (cls.__name__, f"{cls.__module__}.{cls.__qualname__}")]
    called = [cls for cls in called if is_own(cls, loaded)] or called  # a package that is imported takes no name away
    if not called:
        names = near(target, {cls.__name__ for cls in known()})
        meant = (
            f"did you mean {', '.join(names)}?"
            if names
            else "`lmkit plugins list` shows all (of a plugin's file: name the file)"
        )
        raise UserError(f"no class is called {target}: {meant}")
    if len(called) > 1:
        places = ", ".join(f"{cls.__module__}.{cls.__qualname__}" for cls in called)
        raise UserError(f"{len(called)} classes are called {target}: name one in full, out of {places}")
    return called


def known() -> list[type]:
    """The concrete classes of all kinds, but for libraries' private ones."""
    return list(dict.fromkeys(cls for base in EVERY for cls in concrete(base) if not cls.__name__.startswith("_")))


def _lies_in(cls: type, path: Path) -> bool:
    file = Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")
    return file.resolve() == path or path in file.resolve().parents


def _place(cls: type) -> tuple[str, int]:
    """Where a class stands, so that classes come in the order in which their files define them."""
    names = [*vars(sys.modules[cls.__module__])]
    return origin(cls), names.index(cls.__name__) if cls.__name__ in names else len(names)
