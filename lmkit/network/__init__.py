"""Networks, built from the recipes of their parts."""

from lmkit.network.block import Block, BranchNorm, Parallel, ParallelTwoNorms, PostNorm, PreNorm, SandwichNorm
from lmkit.network.branches import follows_branches
from lmkit.network.cache import Cache
from lmkit.network.cross_block import CrossPreNorm
from lmkit.network.decoder import Decoder
from lmkit.network.encoder import Encoder
from lmkit.network.encoder_decoder import EncoderDecoder
from lmkit.network.further_heads import FurtherHeads
from lmkit.network.multi_token import MultiToken
from lmkit.network.pattern import Layer
from lmkit.network.scaled_blocks import DeepNorm, DepthScaled, LayerScale
from lmkit.network.transformer import Network, Transformer

__all__ = [
    "Block",
    "BranchNorm",
    "Cache",
    "CrossPreNorm",
    "Decoder",
    "DeepNorm",
    "DepthScaled",
    "Encoder",
    "EncoderDecoder",
    "FurtherHeads",
    "Layer",
    "LayerScale",
    "MultiToken",
    "Network",
    "Parallel",
    "ParallelTwoNorms",
    "PostNorm",
    "PreNorm",
    "SandwichNorm",
    "Transformer",
    "follows_branches",
]
