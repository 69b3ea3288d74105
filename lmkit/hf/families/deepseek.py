"""DeepSeek-V3 (arXiv:2412.19437): latent attention, a mixture of experts past the first layers.

Numbers that are rotated together lie side by side in its files, in pairs, and a half apart in ours.
"""

from lmkit.hf.anatomy import Anatomy
from lmkit.hf.families.llama import EMBEDDINGS, FEED_FORWARD, NORMS, RMS_NORM, SIZES, UNTIED
from lmkit.hf.family import Family
from lmkit.hf.keys import Cases, Config, Is, Key, Must
from lmkit.hf.layer_keys import DenseFirst
from lmkit.hf.rope import Rope, mscale
from lmkit.hf.rules import Rename, Split, Stack, Transpose

DENSE, MIXED = "Gated", "MixtureOfExperts"
ROTATED = "attention.rope_dim"


class WeightedRope(Rope):
    """A rotation whose YaRN weighs the scores too, by way of the attention's scale."""

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        super().read(config, anatomy)
        given = config.get("rope_parameters") or config.get("rope_scaling") or {}
        for layer in anatomy.layers:
            usual = _usual_scale(layer)
            weight = given.get("mscale_all_dim") if layer["position"] != "Rotary" else None
            layer["attention.scale"] = usual * mscale(layer["position.factor"], weight) ** 2 if weight else usual

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        super().write(anatomy, config)
        layer, given = anatomy.layers[0], config["rope_parameters"]
        of_all = (layer["attention.scale"] / _usual_scale(layer)) ** 0.5
        if given["rope_type"] == "yarn" and abs(of_all - 1.0) > 1e-9:
            whole = given.pop("attention_factor") * of_all
            step = mscale(given["factor"], 1.0) - 1.0
            given |= {"mscale": round((whole - 1.0) / step, 12), "mscale_all_dim": round((of_all - 1.0) / step, 12)}


def _usual_scale(layer: dict[str, float]) -> float:
    return float(layer["attention.nope_dim"] + layer["attention.rope_dim"]) ** -0.5


DEEPSEEK_V3 = Family(
    name="deepseek_v3",
    architecture="DeepseekV3ForCausalLM",
    keys=(
        *SIZES,
        Is("attention", "LatentAttention"),
        Key("kv_lora_rank", "attention.kv_rank"),
        Key("q_lora_rank", "attention.q_rank", None),
        Key("qk_nope_head_dim", "attention.nope_dim"),
        Key("qk_rope_head_dim", "attention.rope_dim"),
        Key("v_head_dim", "attention.v_dim"),
        Is("attention.norm", "RMSNorm"),
        Is("attention.norm.eps", 1e-6),  # whatever rms_norm_eps is
        Must("attention_bias", False),
        Must("rope_interleave", True),
        DenseFirst("first_k_dense_replace"),
        Key("intermediate_size", "feed_forward.hidden", only=DENSE),
        Is("feed_forward.router", "SigmoidRouter", only=MIXED),
        Key("n_routed_experts", "feed_forward.experts", only=MIXED),
        Key("num_experts_per_tok", "feed_forward.active", only=MIXED),
        Key("moe_intermediate_size", "feed_forward.hidden", only=MIXED),
        Key("n_shared_experts", "feed_forward.shared", 0, only=MIXED),
        Key("norm_topk_prob", "feed_forward.router.normalise", True, only=MIXED),
        Key("routed_scaling_factor", "feed_forward.router.scale", 1.0, only=MIXED),
        Key("n_group", "feed_forward.router.groups", 1, only=MIXED),
        Key("topk_group", "feed_forward.router.groups_active", 1, only=MIXED),
        Must("topk_method", "noaux_tc"),
        Must("scoring_func", "sigmoid"),
        Must("moe_layer_freq", 1),
        Cases("hidden_act", {"silu": {"feed_forward.activation": "SiLU"}}, "silu"),
        *RMS_NORM,
        UNTIED,
        WeightedRope(),
    ),
    weights=(
        *EMBEDDINGS,
        *NORMS,
        *FEED_FORWARD,
        Transpose(
            "model.layers.{n}.self_attn.q_b_proj.weight", "blocks.{n}.attention.q.weight", rotated=ROTATED, heads="heads"
        ),
        Rename("model.layers.{n}.self_attn.q_a_proj.weight", "blocks.{n}.attention.q_down.weight"),
        Rename("model.layers.{n}.self_attn.q_a_layernorm.weight", "blocks.{n}.attention.q_norm.weight"),
        Split(
            "model.layers.{n}.self_attn.kv_a_proj_with_mqa.weight",
            "blocks.{n}.attention.kv_down.weight",
            Transpose("", "blocks.{n}.attention.k_rope.weight", rotated=ROTATED),
        ),
        Rename("model.layers.{n}.self_attn.kv_a_layernorm.weight", "blocks.{n}.attention.kv_norm.weight"),
        Split(
            "model.layers.{n}.self_attn.kv_b_proj.weight",
            "blocks.{n}.attention.k.weight",
            "blocks.{n}.attention.v.weight",
            groups="heads",
        ),
        Rename("model.layers.{n}.self_attn.o_proj.weight", "blocks.{n}.attention.out.weight"),
        Rename("model.layers.{n}.mlp.gate.weight", "blocks.{n}.feed_forward.router.project.weight"),
        Rename("model.layers.{n}.mlp.gate.e_score_correction_bias", "blocks.{n}.feed_forward.router.bias"),
        *(
            rule
            for theirs, ours in (("gate", "gate"), ("up", "up"), ("down", "out"))
            for rule in (
                Stack(
                    f"model.layers.{{n}}.mlp.experts.{{e}}.{theirs}_proj.weight",
                    f"blocks.{{n}}.feed_forward.{ours}.weight",
                ),
                Rename(
                    f"model.layers.{{n}}.mlp.shared_experts.{theirs}_proj.weight",
                    f"blocks.{{n}}.feed_forward.shared.expert.{ours}.weight",
                ),
            )
        ),
    ),
    known=("head_dim", "num_key_value_heads", "qk_head_dim", "aux_loss_alpha", "seq_aux", "ep_size"),
)
