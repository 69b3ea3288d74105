"""The built-in layers, imported here so that their class names are known wherever a kind is."""

from lmkit.layers.activations import GELU, QuickGELU, ReLU, ReLUSquared, SiLU
from lmkit.layers.attend import attend
from lmkit.layers.attentions import CrossAttention, SelfAttention
from lmkit.layers.biases import ALiBi, RelativeBias
from lmkit.layers.clamped_mixture import ClampedMixture
from lmkit.layers.feed_forwards import MLP, Gated
from lmkit.layers.gated_delta_net import GatedDeltaNet
from lmkit.layers.heads import rotate
from lmkit.layers.kinds import (
    Activation,
    At,
    Attention,
    FeedForward,
    Memory,
    Norm,
    Position,
    Regulated,
    Router,
    Routing,
)
from lmkit.layers.latent_attention import LatentAttention
from lmkit.layers.mixture import MixtureOfExperts
from lmkit.layers.norms import DynamicTanh, L2Norm, LayerNorm, LearnedScale, NoNorm, RMSNorm, ZeroCentredRMSNorm
from lmkit.layers.positions import Learned, NoPosition, Sinusoidal
from lmkit.layers.rotary import Rotary
from lmkit.layers.rotary_long import RotaryLong
from lmkit.layers.rotary_scaled import RotaryInterpolated, RotaryLlama3, RotaryNTK, RotaryYaRN
from lmkit.layers.routers import SigmoidRouter, SoftmaxRouter
from lmkit.layers.weights import Embedding, Linear

__all__ = [
    "GELU",
    "MLP",
    "ALiBi",
    "Activation",
    "At",
    "Attention",
    "ClampedMixture",
    "CrossAttention",
    "DynamicTanh",
    "Embedding",
    "FeedForward",
    "Gated",
    "GatedDeltaNet",
    "L2Norm",
    "LatentAttention",
    "LayerNorm",
    "Learned",
    "LearnedScale",
    "Linear",
    "Memory",
    "MixtureOfExperts",
    "NoNorm",
    "NoPosition",
    "Norm",
    "Position",
    "QuickGELU",
    "RMSNorm",
    "ReLU",
    "ReLUSquared",
    "Regulated",
    "RelativeBias",
    "Rotary",
    "RotaryInterpolated",
    "RotaryLlama3",
    "RotaryLong",
    "RotaryNTK",
    "RotaryYaRN",
    "Router",
    "Routing",
    "SelfAttention",
    "SiLU",
    "SigmoidRouter",
    "Sinusoidal",
    "SoftmaxRouter",
    "ZeroCentredRMSNorm",
    "attend",
    "rotate",
]
