"""The kind of transforms: from a network to a network, listed in a recipe and done in that order."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from lmkit.network import Network


class Transform(ABC):
    """A kind: changes a network that has been built, before anything is loaded into it, compiled or trained; its
    constructor takes all options.
    """

    changes: ClassVar[Literal["network", "learning", "nothing"]] = "network"
    """What of a checkpoint depends on it: what the network computes, or its tensors; only which of them learn; or
    nothing. Whoever goes on from a checkpoint needs the same transforms, those that change nothing excepted; whoever
    only reads it needs those that change the network.
    """

    @abstractmethod
    def __call__(self, network: Network) -> Network:
        """The network to go on with, which may be the one that was given, changed.

        It may be on the meta device, where mistakes are looked for and costs are counted: no decision may depend on the
        numbers in its tensors, and a part that is added is made on the device and in the dtype of what it is added to.
        """
