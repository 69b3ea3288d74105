"""Mistral (arXiv:2310.06825), and Mixtral (arXiv:2401.04088), whose feed-forwards are mixtures of experts."""

from lmkit.hf.tables.families.llama import (
    ATTENTION,
    EMBEDDINGS,
    GATED,
    HEADS,
    LLAMA,
    NORMS,
    RMS_NORM,
    SILU,
    SIZES,
    UNBIASED,
    UNTIED,
    USUAL_SCALE,
)
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Is, Key
from lmkit.hf.tables.rope import Rope
from lmkit.hf.tables.rules import Rename, Stack

WINDOW = Key("sliding_window", "attention.window", None)  # of no length where a config does not say one
USUAL_WINDOW = Key("sliding_window", "attention.window", 4096, null=True)

MISTRAL = Family(
    name="mistral",
    architecture="MistralForCausalLM",
    keys=(*SIZES, *HEADS, USUAL_SCALE, *UNBIASED, USUAL_WINDOW, *GATED, *RMS_NORM, UNTIED, Rope()),
    weights=LLAMA.weights,
)

MIXTRAL = Family(
    name="mixtral",
    architecture="MixtralForCausalLM",
    keys=(
        *SIZES,
        *HEADS,
        USUAL_SCALE,
        *UNBIASED,
        WINDOW,
        Is("feed_forward", "MixtureOfExperts"),
        Is("feed_forward.router", "SoftmaxRouter"),
        Key("num_local_experts", "feed_forward.experts"),
        Key("num_experts_per_tok", "feed_forward.active"),
        Key("intermediate_size", "feed_forward.hidden"),
        SILU,
        Is("norm", "RMSNorm"),
        Key("rms_norm_eps", "norm.eps", 1e-5),
        UNTIED,
        Rope(theta=1000000.0),
    ),
    weights=(
        *EMBEDDINGS,
        *ATTENTION,
        *NORMS,
        Rename("model.layers.{n}.block_sparse_moe.gate.weight", "blocks.{n}.feed_forward.router.project.weight"),
        *(
            Stack(
                f"model.layers.{{n}}.block_sparse_moe.experts.{{e}}.{theirs}.weight",
                f"blocks.{{n}}.feed_forward.{ours}.weight",
            )
            for theirs, ours in (("w1", "gate"), ("w3", "up"), ("w2", "out"))
        ),
    ),
)
