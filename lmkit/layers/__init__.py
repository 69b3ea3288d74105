"""The built-in layers, imported here so that their class names are known wherever a kind is."""

from lmkit.layers.activations import GELU, ReLUSquared, SiLU
from lmkit.layers.attend import attend
from lmkit.layers.attentions import CrossAttention, SelfAttention, rotate
from lmkit.layers.feed_forwards import MLP, Gated
from lmkit.layers.gated_delta_net import GatedDeltaNet
from lmkit.layers.kinds import (
    Activation,
    At,
    Attention,
    Embedding,
    FeedForward,
    Linear,
    Memory,
    Norm,
    Position,
    Regulated,
)
from lmkit.layers.norms import LayerNorm, RMSNorm
from lmkit.layers.positions import ALiBi, Learned, NoPosition, Rotary, Sinusoidal

__all__ = [
    "GELU",
    "MLP",
    "ALiBi",
    "Activation",
    "At",
    "Attention",
    "CrossAttention",
    "Embedding",
    "FeedForward",
    "Gated",
    "GatedDeltaNet",
    "LayerNorm",
    "Learned",
    "Linear",
    "Memory",
    "NoPosition",
    "Norm",
    "Position",
    "RMSNorm",
    "ReLUSquared",
    "Regulated",
    "Rotary",
    "SelfAttention",
    "SiLU",
    "Sinusoidal",
    "attend",
    "rotate",
]
