"""The built-in layers, imported here so that their class names are known wherever a kind is."""

from lmkit.layers.activations import GELU, ReLUSquared, SiLU
from lmkit.layers.attentions import SelfAttention
from lmkit.layers.feed_forwards import MLP, Gated
from lmkit.layers.kinds import Activation, At, Attention, FeedForward, Norm, Position
from lmkit.layers.norms import LayerNorm, RMSNorm
from lmkit.layers.positions import ALiBi, Learned, NoPosition, Rotary, Sinusoidal

__all__ = [
    "GELU",
    "MLP",
    "ALiBi",
    "Activation",
    "At",
    "Attention",
    "FeedForward",
    "Gated",
    "LayerNorm",
    "Learned",
    "NoPosition",
    "Norm",
    "Position",
    "RMSNorm",
    "ReLUSquared",
    "Rotary",
    "SelfAttention",
    "SiLU",
    "Sinusoidal",
]
