"""What a target on the command line means: a plugin's file, a folder of them, or the name of a class."""

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import lmkit.layers
import lmkit.network  # noqa: F401 (so that all built-in classes have names)
from lmkit.errors import UserError
from lmkit.registry import load_plugins, near, origin
from lmkit.testing.given import GIVEN


def resolve(target: str, plugins: Sequence[str] = ()) -> list[type]:
    """The classes that a target means.

    Args:
        target: a .py file, a folder of them, or the name of a class that is built in or a plugin's.
        plugins: imported before, beside those of installed packages.

    Raises:
        UserError: there is no such file or class, or no layer in the file.
    """
    path = Path(target)
    if path.suffix == ".py" or path.is_dir():
        load_plugins([*plugins, target])
        inside = sorted((cls for cls in known() if _lies_in(cls, path.resolve())), key=_place)
        if not inside:
            kinds = ", ".join(kind.__name__ for kind in GIVEN)
            raise UserError(f"{target} defines no class of a kind: make one a subclass of {kinds}")
        return inside
    load_plugins(plugins)
    called = [cls for cls in known() if target in (cls.__name__, f"{cls.__module__}.{cls.__qualname__}")]
    if not called:
        names = near(target, {cls.__name__ for cls in known()})
        meant = f"did you mean {', '.join(names)}?" if names else "name a class of a layer, or a plugin's file"
        raise UserError(f"no layer is called {target}: {meant}")
    if len(called) > 1:
        places = ", ".join(f"{cls.__module__}.{cls.__qualname__}" for cls in called)
        raise UserError(f"{len(called)} classes are called {target}: name one in full, out of {places}")
    return called


def known() -> list[type]:
    """The concrete classes of all kinds that can be checked."""
    found, waiting = list[type](), [*GIVEN]
    while waiting:
        cls = waiting.pop(0)
        waiting += cls.__subclasses__()
        if not inspect.isabstract(cls) and cls not in found:
            found.append(cls)
    return found


def _lies_in(cls: type, path: Path) -> bool:
    file = Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")
    return file.resolve() == path or path in file.resolve().parents


def _place(cls: type) -> tuple[str, int]:
    """Where a class stands, so that classes come in the order in which their files define them."""
    names = [*vars(sys.modules[cls.__module__])]
    return origin(cls), names.index(cls.__name__) if cls.__name__ in names else len(names)
