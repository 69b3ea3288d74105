"""A part of another class comes with its own defaults, in a recipe and on the command line.

jsonargparse hands on what two classes both have when one takes the other's place: `norm: LayerNorm` would be given the
eps of the network's default, an RMSNorm, and `feed_forward: Gated` the activation of an MLP. What holds the rest of a
recipe (task, network, data) is handed on as before, so that `--model.network=MyDecoder` need not say its parts anew.
"""

from pkgutil import resolve_name
from typing import Any

import jsonargparse._typehints as parsing
from jsonargparse import Namespace

from lmkit.kinds import KINDS

HOLDERS = tuple(KINDS[name].base for name in ("task", "network", "data"))

_discard_unknown = parsing.discard_init_args_on_class_path_change


def discard(parser_or_action: Any, former: Any, value: Any) -> None:
    """Drops the options of a part whose place is taken by one of another class, before they are merged with its own."""
    _discard_unknown(parser_or_action, former, value)
    if former and "init_args" in former and not _hands_on(former["class_path"], value["class_path"]):
        former["init_args"] = Namespace()


def _hands_on(former: str, path: str) -> bool:
    """Whether a class takes the options of the one whose place it takes."""
    cls = resolve_name(path)
    return cls is resolve_name(former) or (isinstance(cls, type) and issubclass(cls, HOLDERS))


parsing.discard_init_args_on_class_path_change = discard
