"""Networks, built from the recipes of their parts."""

from lmkit.network.block import Block, PostNorm, PreNorm, SandwichNorm
from lmkit.network.cache import Cache
from lmkit.network.decoder import Decoder

__all__ = ["Block", "Cache", "Decoder", "PostNorm", "PreNorm", "SandwichNorm"]
