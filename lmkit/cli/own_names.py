"""A short name means lmkit's, torch's or Lightning's class, whatever another package calls its own.

jsonargparse looks among all classes that are imported, and refuses a name of several: peft imports bitsandbytes where
it is installed, whose optimizers are called as torch's. A plugin's class of such a name is refused by `check_names`.
"""

from typing import Any

import jsonargparse._typehints as parsing

from lmkit.registry import OWN

_resolve = parsing.resolve_class_path_by_name


def resolve(cls: Any, name: str) -> str:
    """The whole path of a class that is called by its name.

    Raises:
        ValueError: several are, and not one of them is our own.
    """
    try:
        return _resolve(cls, name)
    except ValueError:
        paths = [path for path in parsing.get_all_subclass_paths(cls) if path.rpartition(".")[2] == name]
        own = [path for path in paths if path.partition(".")[0] in OWN]
        if len(own) != 1:
            raise
        return own[0]


parsing.resolve_class_path_by_name = resolve
