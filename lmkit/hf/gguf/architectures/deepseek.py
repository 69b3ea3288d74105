"""DeepSeek-V3: latent attention, whose keys and values llama.cpp holds by heads, the keys' turned."""

import math
from collections.abc import Callable

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.llama import EMBEDDINGS, EXPERTS, FEED_FORWARD, NORMS, RMS_NORM, SIZES, TIED
from lmkit.hf.gguf.entries import Also, Number, Only, Told
from lmkit.hf.gguf.rope import PLAIN, YARN, Rope
from lmkit.hf.gguf.rules import EachTransposed
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.binding import where
from lmkit.hf.tables.entry import NotOfFamily
from lmkit.hf.tables.keys import Is, Key, Way
from lmkit.hf.tables.layer_keys import DenseFirst
from lmkit.hf.tables.rules import Rename, Split, Transpose
from lmkit.hf.tables.values import Config

DENSE, MIXED = "Gated", "MixtureOfExperts"
ROTATED = "attention.rope_dim"
LITE_DEPTHS, LITE_VOCABULARY = (26, 27), (48, 128256)
"""The depths, and a depth with a vocabulary, by which llama.cpp knows networks that have no latent of queries."""


class WeightedRope(Rope):
    """A rotation whose YaRN weighs the scores by the square of c ln(factor) + 1, and leaves cosines as they are."""

    theirs = (*Rope.theirs, "rope.scaling.yarn_log_multiplier")

    def __init__(self) -> None:
        super().__init__((PLAIN, YARN), width=ROTATED)

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        super().read(config, anatomy)
        weight = 1.0
        if config.get("rope.scaling.type") == "yarn":
            weight += config["rope.scaling.yarn_log_multiplier"] * math.log(config["rope.scaling.factor"])
        for layer in anatomy.layers:
            layer["attention.scale"] = weight**2 * _usual_scale(layer)

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        super().write(anatomy, config)
        layer = anatomy.layers[0]
        if layer["position"] != YARN:
            return
        weight = (layer["attention.scale"] / _usual_scale(layer)) ** 0.5
        if abs(layer["position.attention_factor"] - 1.0) > 1e-6 or weight <= 1.0:
            raise NotOfFamily(
                "its YaRN does not weigh the scores alone, as where mscale and mscale_all_dim are equal and not 0"
            )
        config["rope.scaling.attn_factor"] = 1.0
        config["rope.scaling.yarn_log_multiplier"] = (weight - 1.0) / math.log(layer["position.factor"])


def queries(name: str) -> Transpose:
    """The matrix to the queries, each of whose parts that are rotated lies by pairs."""
    return Transpose(f"blk.{{n}}.{name}.weight", "blocks.{n}.attention.q.weight", rotated=ROTATED, heads="heads")


def _usual_scale(layer: dict[str, float]) -> float:
    return float(layer["attention.nope_dim"] + layer["attention.rope_dim"]) ** -0.5


def _sum(*parts: str) -> Callable[[Anatomy], int]:
    """A sum of options of the layers' attention."""
    return lambda anatomy: sum(anatomy.layers[0][f"attention.{part}"] for part in parts)


def _latent_queries_by_depth(anatomy: Anatomy) -> bool:
    depth, vocab_size = anatomy.whole["depth"], anatomy.whole["vocab_size"]
    without = depth in LITE_DEPTHS or (depth, vocab_size) == LITE_VOCABULARY
    return without == (anatomy.layers[0].get("attention.q_rank") is None)


def _mixed_and_shared(anatomy: Anatomy) -> bool:
    return any(layer["feed_forward"] == MIXED for layer in anatomy.layers) and all(
        layer["feed_forward.shared"] for layer in anatomy.layers if layer["feed_forward"] == MIXED
    )


DEEPSEEK = Architecture(
    name="deepseek2",
    keys=(
        *SIZES,
        Is("attention", "LatentAttention"),
        Only(
            _latent_queries_by_depth,
            "llama.cpp knows none without a latent of queries but of 26 or 27 layers, and none of those with one",
        ),
        Only(_mixed_and_shared, "there is no mixture of experts, or one without experts that all tokens share"),
        Key("attention.kv_lora_rank", "attention.kv_rank"),
        Key("attention.q_lora_rank", "attention.q_rank", None),
        Key("attention.value_length_mla", "attention.v_dim"),
        Key("rope.dimension_count", "attention.rope_dim"),
        Told("attention.nope_dim"),
        Also("attention.key_length_mla", _sum("nope_dim", "rope_dim")),
        Also("attention.key_length", _sum("kv_rank", "rope_dim")),
        Also("attention.value_length", _sum("kv_rank")),
        Also("attention.head_count_kv", 1),
        Is("attention.norm", "RMSNorm"),
        Number("attention.layer_norm_rms_epsilon", "attention.norm.eps"),
        DenseFirst("leading_dense_block_count"),
        Key("feed_forward_length", "feed_forward.hidden", only=DENSE),
        Is("feed_forward.router", "SigmoidRouter", only=MIXED),
        Also("expert_gating_func", 2),  # the sigmoid
        Key("expert_count", "feed_forward.experts", only=MIXED),
        Key("expert_used_count", "feed_forward.active", only=MIXED),
        Key("expert_feed_forward_length", "feed_forward.hidden", only=MIXED),
        Key("expert_shared_count", "feed_forward.shared", only=MIXED),
        Key("expert_weights_norm", "feed_forward.router.normalise", only=MIXED, kind=bool),
        Key("expert_weights_scale", "feed_forward.router.scale", only=MIXED, way=Way(float, float), kind=float),
        Key("expert_group_count", "feed_forward.router.groups", only=MIXED),
        Key("expert_group_used_count", "feed_forward.router.groups_active", only=MIXED),
        Is("feed_forward.activation", "SiLU"),
        *RMS_NORM,
        TIED,
        WeightedRope(),
    ),
    weights=(
        *EMBEDDINGS,
        *NORMS,
        *where(lambda parts: parts["feed_forward"] == DENSE, *FEED_FORWARD),
        *where(lambda parts: parts["feed_forward"] == MIXED, *EXPERTS),
        Rename("blk.{n}.exp_probs_b.bias", "blocks.{n}.feed_forward.router.bias"),
        *(
            Rename(f"blk.{{n}}.ffn_{theirs}_shexp.weight", f"blocks.{{n}}.feed_forward.shared.expert.{ours}.weight")
            for theirs, ours in (("gate", "gate"), ("up", "up"), ("down", "out"))
        ),
        *where(lambda parts: parts["attention.q_rank"] is None, queries("attn_q")),
        *where(lambda parts: parts["attention.q_rank"] is not None, queries("attn_q_b")),
        Rename("blk.{n}.attn_q_a.weight", "blocks.{n}.attention.q_down.weight"),
        Rename("blk.{n}.attn_q_a_norm.weight", "blocks.{n}.attention.q_norm.weight"),
        Split(
            "blk.{n}.attn_kv_a_mqa.weight",
            "blocks.{n}.attention.kv_down.weight",
            Transpose("", "blocks.{n}.attention.k_rope.weight", rotated=ROTATED),
        ),
        Rename("blk.{n}.attn_kv_a_norm.weight", "blocks.{n}.attention.kv_norm.weight"),
        EachTransposed("blk.{n}.attn_k_b.weight", "blocks.{n}.attention.k.weight", rows="heads"),
        Rename("blk.{n}.attn_v_b.weight", "blocks.{n}.attention.v.weight", rows="heads"),
        Rename("blk.{n}.attn_output.weight", "blocks.{n}.attention.out.weight"),
    ),
)
