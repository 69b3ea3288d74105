"""The kinds: what a recipe can name a class for. A new kind is one line here; commands and checks follow the table."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from lightning import Callback, LightningDataModule
from torch.optim import Optimizer

import lmkit.data.chat
import lmkit.data.judgements
import lmkit.data.labels
import lmkit.data.preferences
import lmkit.data.text  # noqa: F401 (known by its class name once it is imported)
from lmkit.data.chat_templates import ChatTemplate
from lmkit.data.conversations import RowFormat
from lmkit.data.corpus import Filter, Source
from lmkit.data.rows import RowSource
from lmkit.errors import UserError
from lmkit.layers.kinds import Activation, Attention, FeedForward, Norm, Position, Router
from lmkit.losses import Divergence, PreferenceLoss
from lmkit.network import Block, FurtherHeads, Network
from lmkit.optim import Schedule
from lmkit.registry import check_names, load_plugins, near
from lmkit.tasks import Task
from lmkit.tasks.references import Reference
from lmkit.transforms import Transform


class Kind(NamedTuple):
    """A kind of part.

    Attributes:
        base: the class that its classes inherit.
        given: the parameters that come first and are given by what uses the part, not by the recipe.
    """

    base: type
    given: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "activation": Kind(Activation),
    "norm": Kind(Norm, ("dim",)),
    "feed_forward": Kind(FeedForward, ("dim",)),
    "router": Kind(Router, ("dim", "experts", "active")),
    "attention": Kind(Attention, ("dim", "heads")),
    "position": Kind(Position, ("dim", "heads", "context")),
    "block": Kind(Block, ("dim", "depth", "norm", "attention", "feed_forward")),
    "network": Kind(Network),
    "multi_token": Kind(FurtherHeads, ("network",)),
    "schedule": Kind(Schedule, ("steps",)),
    "optimizer": Kind(Optimizer, ("params",)),
    "transform": Kind(Transform),
    "task": Kind(Task),
    "data": Kind(LightningDataModule),
    "source": Kind(Source),
    "filter": Kind(Filter),
    "row_source": Kind(RowSource),
    "row_format": Kind(RowFormat),
    "callback": Kind(Callback),
    "chat_template": Kind(ChatTemplate),
    "preference_loss": Kind(PreferenceLoss),
    "reference": Kind(Reference),
    "divergence": Kind(Divergence),
}
"""By the name that commands use."""


def load(plugins: Sequence[str]) -> None:
    """Loads plugins for a command.

    Raises:
        UserError: one does not import, or two classes of a kind have one name.
    """
    check(load_plugins(plugins))


def check(loaded: set[str]) -> None:
    """Looks whether names are unique among the plugins that were loaded and what is built in.

    Raises:
        UserError: two classes of a kind have one name.
    """
    check_names([kind.base for kind in KINDS.values()], loaded)


def find_kind(name: str) -> Kind:
    """The kind of this name.

    Raises:
        UserError: there is none.
    """
    if name in KINDS:
        return KINDS[name]
    close = near(name, KINDS)
    remedy = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(KINDS)}"
    raise UserError(f"no kind is called {name}: {remedy}")


def hints(cls: type) -> dict[str, Any]:
    """The types of a constructor's parameters; none where they cannot be resolved, as in some foreign classes."""
    try:
        return get_type_hints(cls.__init__)  # type: ignore[misc]
    except (NameError, TypeError):
        return {}


class Leaf(NamedTuple):
    """A class that a parameter takes or makes: `list[Callable[[int], Norm]]` makes norms.

    Attributes:
        cls: the class.
        given: how many values it is given where it is made.
        within: the container that holds several, such as `list`; none for one.
    """

    cls: Any
    given: int = 0
    within: Any = None


def leaves(hint: Any) -> Iterator[Leaf]:
    """The classes that a type takes or makes."""
    outer, parts = get_origin(hint), get_args(hint)
    if outer is Callable and len(parts) == 2:
        given = len(parts[0]) if isinstance(parts[0], list) else 0
        yield from (leaf._replace(given=given) for leaf in leaves(parts[1]))
    elif outer is None or outer is Literal:
        yield Leaf(hint)
    else:
        container = outer if isinstance(outer, type) and issubclass(outer, Collection) else None
        for part in parts:
            yield from (leaf._replace(within=container or leaf.within) for leaf in leaves(part))
