"""SmolLM 3: Llama, with every fourth layer without positions."""

from lmkit.hf.tables.families.llama import BIASES, GATED, HEADS, LLAMA, RMS_NORM, SIZES, USUAL_SCALE
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Key
from lmkit.hf.tables.layer_keys import FULL, SLIDING, NoPositions, Windows, rotated
from lmkit.hf.tables.rope import Rope
from lmkit.hf.tables.values import Config


def where_not_rotated(config: Config) -> list[str]:
    """Windows in the layers that know no positions, as where a config does not list them."""
    return [FULL if one else SLIDING for one in rotated(config, config["num_hidden_layers"])]


SMOLLM3 = Family(
    name="smollm3",
    architecture="SmolLM3ForCausalLM",
    keys=(
        *SIZES,
        *HEADS,
        USUAL_SCALE,
        BIASES,
        Windows(where_not_rotated, switch="use_sliding_window", length=None),
        *GATED,
        Key("mlp_bias", "feed_forward.bias", False),
        *RMS_NORM,
        Key("tie_word_embeddings", "tied", True),
        Rope(theta=2000000.0),
        NoPositions(),
    ),
    weights=LLAMA.weights,
    known=("max_window_layers",),
)
