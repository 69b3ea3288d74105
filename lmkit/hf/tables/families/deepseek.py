"""DeepSeek-V3 (arXiv:2412.19437): latent attention, a mixture of experts past the first layers.

Numbers that are rotated together lie side by side in its files, in pairs, and a half apart in ours.
"""

from lmkit.errors import UserError
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.binding import where
from lmkit.hf.tables.entry import NotOfFamily
from lmkit.hf.tables.families.llama import EMBEDDINGS, NORMS, RMS_NORM, SILU, SIZES, UNTIED, heads_of
from lmkit.hf.tables.families.qwen import DENSE, EXPERTS, IN_DENSE_LAYERS, MIXED
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Is, Key, Must
from lmkit.hf.tables.layer_keys import DenseFirst
from lmkit.hf.tables.rope import Rope
from lmkit.hf.tables.rope_checks import told
from lmkit.hf.tables.rope_parameters import mscale
from lmkit.hf.tables.rules import Rename, Split, Transpose
from lmkit.hf.tables.values import Config

ROTATED = "attention.rope_dim"


class WeightedRope(Rope):
    """A rotation whose YaRN weighs the scores too, by way of the attention's scale."""

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        super().read(config, anatomy)
        given = told(config)
        for layer in anatomy.layers:
            usual = _usual_scale(layer)
            weight = given.get("mscale_all_dim") if layer["position"] != "Rotary" else None
            if weight and "position.factor" not in layer:
                raise UserError("config.json says mscale_all_dim in rope parameters of a kind without a factor")
            layer["attention.scale"] = usual * mscale(layer["position.factor"], weight) ** 2 if weight else usual

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        if any(layer["attention"] != "LatentAttention" for layer in anatomy.layers):
            raise NotOfFamily("it has another attention than the latent one")
        super().write(anatomy, config)
        layer, given = anatomy.layers[0], config["rope_parameters"]
        of_all = (layer["attention.scale"] / _usual_scale(layer)) ** 0.5
        if given["rope_type"] == "yarn" and abs(of_all - 1.0) > 1e-9:
            usual = mscale(given["factor"], 1.0)
            whole = given.pop("attention_factor", usual) * of_all
            for key, reached in (("mscale", whole), ("mscale_all_dim", of_all)):
                given[key] = round((reached - 1.0) / (usual - 1.0), 12)


def _usual_scale(layer: dict[str, float]) -> float:
    return float(layer["attention.nope_dim"] + layer["attention.rope_dim"]) ** -0.5


def queries(name: str) -> Transpose:
    """The matrix from the stream, or from its latent, to the queries."""
    theirs, ours = f"model.layers.{{n}}.self_attn.{name}.weight", "blocks.{n}.attention.q.weight"
    return Transpose(theirs, ours, rotated=ROTATED, heads="heads")


DEEPSEEK_V3 = Family(
    name="deepseek_v3",
    architecture="DeepseekV3ForCausalLM",
    keys=(
        Key("num_key_value_heads", "heads", heads_of),
        *SIZES,
        Is("attention", "LatentAttention"),
        Key("kv_lora_rank", "attention.kv_rank"),
        Key("q_lora_rank", "attention.q_rank", 1536, null=True),
        Key("qk_nope_head_dim", "attention.nope_dim"),
        Key("qk_rope_head_dim", "attention.rope_dim"),
        Key("v_head_dim", "attention.v_dim"),
        Is("attention.norm", "RMSNorm"),
        Is("attention.norm.eps", 1e-6),  # whatever rms_norm_eps is
        Key("attention_bias", "attention.bias", False),
        Must("rope_interleave", True),
        DenseFirst("first_k_dense_replace"),
        Key("intermediate_size", "feed_forward.hidden", only=DENSE),
        Is("feed_forward.router", "SigmoidRouter", only=MIXED),
        Key("n_routed_experts", "feed_forward.experts", only=MIXED),
        Key("num_experts_per_tok", "feed_forward.active", only=MIXED),
        Key("moe_intermediate_size", "feed_forward.hidden", only=MIXED),
        Key("n_shared_experts", "feed_forward.shared", 1, only=MIXED),
        Key("norm_topk_prob", "feed_forward.router.normalise", True, only=MIXED),
        Key("routed_scaling_factor", "feed_forward.router.scale", 2.5, only=MIXED),
        Key("n_group", "feed_forward.router.groups", 8, only=MIXED),
        Key("topk_group", "feed_forward.router.groups_active", 4, only=MIXED),
        Must("topk_method", "noaux_tc"),
        Must("scoring_func", "sigmoid"),
        Must("moe_layer_freq", 1),
        SILU,
        *RMS_NORM,
        UNTIED,
        WeightedRope(),
    ),
    weights=(
        *EMBEDDINGS,
        *NORMS,
        *IN_DENSE_LAYERS,
        *where(lambda parts: parts["attention.q_rank"] is None, queries("q_proj")),
        *where(lambda parts: parts["attention.q_rank"] is not None, queries("q_b_proj")),
        Rename("model.layers.{n}.self_attn.q_a_proj.*", "blocks.{n}.attention.q_down.*"),
        Rename("model.layers.{n}.self_attn.q_a_layernorm.weight", "blocks.{n}.attention.q_norm.weight"),
        Split(
            "model.layers.{n}.self_attn.kv_a_proj_with_mqa.*",
            "blocks.{n}.attention.kv_down.*",
            Transpose("", "blocks.{n}.attention.k_rope.*", rotated=ROTATED),
        ),
        Rename("model.layers.{n}.self_attn.kv_a_layernorm.weight", "blocks.{n}.attention.kv_norm.weight"),
        Split(
            "model.layers.{n}.self_attn.kv_b_proj.weight",
            "blocks.{n}.attention.k.weight",
            "blocks.{n}.attention.v.weight",
            groups="heads",
        ),
        Rename("model.layers.{n}.self_attn.o_proj.*", "blocks.{n}.attention.out.*"),
        Rename("model.layers.{n}.mlp.gate.weight", "blocks.{n}.feed_forward.router.project.weight"),
        Rename("model.layers.{n}.mlp.gate.e_score_correction_bias", "blocks.{n}.feed_forward.router.bias"),
        *EXPERTS,
        *(
            Rename(
                f"model.layers.{{n}}.mlp.shared_experts.{theirs}_proj.weight",
                f"blocks.{{n}}.feed_forward.shared.expert.{ours}.weight",
            )
            for theirs, ours in (("gate", "gate"), ("up", "up"), ("down", "out"))
        ),
    ),
    known=("head_dim", "qk_head_dim", "aux_loss_alpha", "seq_aux", "ep_size"),
    later="num_nextn_predict_layers",
)
