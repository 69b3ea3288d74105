"""Template, a transform: write here what it is, who proposed it, when, and under which arXiv number."""

from typing import ClassVar, Literal

from lmkit.errors import UserError
from lmkit.network import Block, Network
from lmkit.transforms import Transform


class Template(Transform):
    """Has the first blocks learn nothing.

    Args:
        count: number of blocks.
    """

    changes: ClassVar[Literal["network", "learning", "nothing"]] = "learning"

    def __init__(self, count: int = 1) -> None:
        if count < 1:
            raise UserError(f"count is {count}: give the number of blocks that learn nothing, 1 or more")
        self.count = count

    def __call__(self, network: Network) -> Network:
        """The same network, changed."""
        blocks = [part for part in network.modules() if isinstance(part, Block)]
        if self.count > len(blocks):
            raise UserError(f"count is {self.count}, but the network has {len(blocks)} blocks: give no more than those")
        for block in blocks[: self.count]:
            block.requires_grad_(False)
        return network
