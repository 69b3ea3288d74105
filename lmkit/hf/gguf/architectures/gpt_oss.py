"""gpt-oss, whose YaRN's ramp llama.cpp begins and ends at whole pairs, unlike what was published."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.llama import ATTENTION, EMBEDDINGS, HEADS, RMS_NORM, SIZES, TIED
from lmkit.hf.gguf.entries import Windows
from lmkit.hf.gguf.rope import Rope
from lmkit.hf.tables.keys import Is, Key
from lmkit.hf.tables.rules import Rename

FEED_FORWARD = "blocks.{n}.feed_forward"
EXPERTS = "feed_forward.experts"

GPT_OSS = Architecture(
    name="gpt-oss",
    keys=(
        *SIZES,
        *HEADS,
        Is("attention.sinks", True),
        Is("attention.bias", True),
        Is("attention.out_bias", True),
        Windows(),
        Is("feed_forward", "ClampedMixture"),
        Is("feed_forward.router", "SoftmaxRouter"),
        Is("feed_forward.router.bias", True),
        Key("expert_count", EXPERTS),
        Key("expert_used_count", "feed_forward.active"),
        Key("expert_feed_forward_length", "feed_forward.hidden"),
        *RMS_NORM,
        TIED,
        Rope(),
    ),
    weights=(
        *EMBEDDINGS,
        *ATTENTION,
        Rename("blk.{n}.attn_norm.weight", "blocks.{n}.attention_norm.weight"),
        Rename("blk.{n}.post_attention_norm.weight", "blocks.{n}.feed_forward_norm.weight"),
        Rename("blk.{n}.attn_sinks.weight", "blocks.{n}.attention.sinks"),
        Rename("blk.{n}.ffn_gate_inp.*", f"{FEED_FORWARD}.router.project.*"),
        *(
            rule
            for theirs, ours in (("gate", "gate"), ("up", "up"), ("down", "out"))
            for rule in (
                Rename(f"blk.{{n}}.ffn_{theirs}_exps.weight", f"{FEED_FORWARD}.{ours}.weight"),
                Rename(f"blk.{{n}}.ffn_{theirs}_exps.bias", f"{FEED_FORWARD}.{ours}.bias", rows=EXPERTS),
            )
        ),
    ),
    copied="output.weight",
)
