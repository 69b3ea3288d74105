"""Which subject a class is checked as: one for each family of kinds that is called in a way of its own."""

from typing import Any

from lmkit.losses import Divergence, PreferenceLoss
from lmkit.network import FurtherHeads, Network
from lmkit.tasks import Task
from lmkit.tasks.references import Reference
from lmkit.testing.diverging import Diverging
from lmkit.testing.from_file import FILES, FromFile
from lmkit.testing.further import Further
from lmkit.testing.given import kind_of
from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.preferring import Preferring
from lmkit.testing.referring import Referring
from lmkit.testing.subject import Subject
from lmkit.testing.tasking import Tasking
from lmkit.testing.transforming import Transforming
from lmkit.testing.whole import Whole
from lmkit.transforms import Transform

FAMILIES: dict[type, type[Subject]] = {
    **dict.fromkeys(LAYERS, Layer),
    **dict.fromkeys(FILES, FromFile),
    Network: Whole,
    FurtherHeads: Further,
    Transform: Transforming,
    PreferenceLoss: Preferring,
    Task: Tasking,
    Reference: Referring,
    Divergence: Diverging,
}
"""The subject of each kind; `Subject` for those that are not named."""


def subject_of(cls: type, options: dict[str, Any] | None = None) -> Subject:
    """The subject of a class; see `Subject`.

    Raises:
        UserError: the class is of no kind, or cannot be constructed.
    """
    return FAMILIES.get(kind_of(cls) or object, Subject)(cls, options)
