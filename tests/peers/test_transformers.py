"""Whole networks and attentions against transformers' own, with the same random weights, in float64."""

import math
from functools import partial

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GptOssConfig,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssAttention, GptOssRotaryEmbedding

from lmkit.layers import (
    GELU,
    MLP,
    At,
    CrossAttention,
    Gated,
    LayerNorm,
    RelativeBias,
    RMSNorm,
    Rotary,
    RotaryLlama3,
    SelfAttention,
    ZeroCentredRMSNorm,
)
from lmkit.network import CrossPreNorm, Decoder, Encoder, EncoderDecoder, Layer, ParallelTwoNorms, SandwichNorm
from tests.peers.weights import attention_pairs, copy, gated_pairs, randomised

V, T = 60, 24


pytestmark = pytest.mark.usefixtures("double")


def test_gemma_2():
    """Sandwich norms, soft caps of scores and logits, a scale of its own, scaled embeddings, windows by turns."""
    config = Gemma2Config(
        V, 32, 48, 4, 4, 2, head_dim=8, query_pre_attn_scalar=5, sliding_window=6, max_position_embeddings=64,
        final_logit_softcapping=2.0, attn_logit_softcapping=1.5, attn_implementation="eager",
    )  # fmt: skip
    peer = randomised(Gemma2ForCausalLM(config))
    attention = partial(SelfAttention, kv_heads=2, scale=5**-0.5, soft_cap=1.5)
    feed_forward = partial(Gated, hidden=48, activation=partial(GELU, "tanh"))
    pattern = [Layer(attention=partial(attention, window=6)), Layer()]
    scale = torch.tensor(32**0.5).item()
    network = Decoder(
        V, 64, 32, 4, 4, ZeroCentredRMSNorm, Rotary, attention, feed_forward, SandwichNorm, pattern=pattern,
        embedding_scale=scale, soft_cap=2.0,
    ).eval()  # fmt: skip

    def pairs():
        yield network.embedding.weight, peer.model.embed_tokens.weight
        yield network.norm.weight, peer.model.norm.weight
        for block, layer in zip(network.blocks, peer.model.layers, strict=True):
            yield from attention_pairs(block.attention, layer.self_attn)
            yield from gated_pairs(block.feed_forward, layer.mlp)
            names = ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm"]
            for mine, theirs in zip(block.norms, [*names, "post_feedforward_layernorm"], strict=True):
                yield getattr(block, mine).weight, getattr(layer, theirs).weight

    copy(pairs())
    tokens = torch.randint(V, (2, T))
    torch.testing.assert_close(network.logits(network(tokens)), peer(tokens).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["full_attention", "sliding_attention"])
def test_attention_of_gpt_oss(kind):
    """Sinks, biases, grouped heads, a window."""
    config = GptOssConfig(
        2, 4, V, 32, 48, 8, 4, 2, sliding_window=6, layer_types=[kind] * 2, attention_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0}, attn_implementation="eager",
    )  # fmt: skip
    peer = randomised(GptOssAttention(config, 0))
    window = 6 if kind == "sliding_attention" else None
    ours = SelfAttention(32, 4, kv_heads=2, window=window, sinks=True, bias=True)
    copy([*attention_pairs(ours, peer), (ours.sinks, peer.sinks)])
    x, positions = torch.randn(2, T, 32), torch.arange(T)[None]
    _, at = Rotary(32, 4, T, base=100.0)(x, positions)
    distance = positions.T - positions
    hidden = (distance < 0) | (distance >= (window or T))
    mask = torch.zeros(T, T).masked_fill(hidden, -math.inf)[None, None]
    cos, sin = GptOssRotaryEmbedding(config)(x, positions)
    expected, _ = peer(x, (cos, sin), mask)
    torch.testing.assert_close(ours(x, At(rotation=at.rotation)), expected, rtol=0, atol=1e-6)


def test_llama_3():
    """Frequencies scaled as Llama 3.1's, past the original context; an untied head."""
    rope = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope["original_max_position_embeddings"] = 12
    config = LlamaConfig(
        V, 32, 48, 2, 4, 2, max_position_embeddings=96, rope_parameters=rope, attn_implementation="eager"
    )
    peer = randomised(LlamaForCausalLM(config))
    position = partial(RotaryLlama3, factor=8.0, original_context=12, base=100.0)
    attention, feed_forward = partial(SelfAttention, kv_heads=2), partial(Gated, hidden=48)
    network = Decoder(V, 96, 32, 2, 4, RMSNorm, position, attention, feed_forward, tied=False).eval()

    def pairs():
        yield network.embedding.weight, peer.model.embed_tokens.weight
        yield network.norm.weight, peer.model.norm.weight
        yield network.head.weight, peer.lm_head.weight
        for block, layer in zip(network.blocks, peer.model.layers, strict=True):
            yield from attention_pairs(block.attention, layer.self_attn)
            yield from gated_pairs(block.feed_forward, layer.mlp)
            yield block.attention_norm.weight, layer.input_layernorm.weight
            yield block.feed_forward_norm.weight, layer.post_attention_layernorm.weight

    copy(pairs())
    tokens = torch.randint(V, (2, 60))
    torch.testing.assert_close(network.logits(network(tokens)), peer(tokens).logits, rtol=0, atol=1e-4)


def test_gpt_neox():
    """Both branches read one stream by norms of their own; a quarter of each head is rotated."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}
    config = GPTNeoXConfig(
        V, 64, 2, 4, 96, max_position_embeddings=64, rope_parameters=rope, attn_implementation="eager"
    )
    peer = randomised(GPTNeoXForCausalLM(config))
    attention, feed_forward = partial(SelfAttention, bias=True), partial(MLP, hidden=96, bias=True)
    network = Decoder(
        V, 64, 64, 2, 4, LayerNorm, partial(Rotary, width=4), attention, feed_forward, ParallelTwoNorms, tied=False
    ).eval()

    def pairs():
        yield network.embedding.weight, peer.gpt_neox.embed_in.weight
        yield network.head.weight, peer.embed_out.weight
        both = [(network.norm, peer.gpt_neox.final_layer_norm)]
        for block, layer in zip(network.blocks, peer.gpt_neox.layers, strict=True):
            both += [(block.attention_norm, layer.input_layernorm)]
            both += [(block.feed_forward_norm, layer.post_attention_layernorm)]
            both += [(block.attention.out, layer.attention.dense), (block.feed_forward.up, layer.mlp.dense_h_to_4h)]
            both += [(block.feed_forward.out, layer.mlp.dense_4h_to_h)]
            fused = layer.attention.query_key_value
            for i, mine in enumerate((block.attention.q, block.attention.k, block.attention.v)):
                yield mine.weight, fused.weight, lambda w, i=i: w.view(4, 3, 16, 64)[:, i].flatten(0, 1)
                yield mine.bias, fused.bias, lambda b, i=i: b.view(4, 3, 16)[:, i].flatten()
        for mine, theirs in both:
            yield mine.weight, theirs.weight
            yield mine.bias, theirs.bias

    copy(pairs())
    tokens = torch.randint(V, (2, T))
    torch.testing.assert_close(network.logits(network(tokens)), peer(tokens).logits, rtol=0, atol=1e-5)


def test_t5():
    """Encoder and decoder with biases of distance, no scale, a gated feed-forward; padding of what is read."""
    config = T5Config(
        V, 32, 6, 48, 2, 3, 4, relative_attention_num_buckets=8, relative_attention_max_distance=12,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, attn_implementation="eager",
    )  # fmt: skip
    peer = randomised(T5ForConditionalGeneration(config))
    parts = {
        "norm": RMSNorm,
        "attention": partial(SelfAttention, head_dim=6, scale=1.0),
        "feed_forward": partial(Gated, hidden=48, activation=partial(GELU, "tanh")),
    }
    bias = partial(RelativeBias, buckets=8, longest=12)
    cross = partial(CrossPreNorm, cross=partial(CrossAttention, heads=4, head_dim=6, scale=1.0))
    encoder = partial(Encoder, V, 64, 32, 2, 4, position=partial(bias, both_ways=True), **parts)
    decoder = partial(Decoder, V, 64, 32, 3, 4, position=bias, block=cross, tied=False, **parts)
    network = EncoderDecoder(encoder, decoder).eval()

    def t5_attention(mine, theirs):
        for ours, name in ((mine.q, "q"), (mine.k, "k"), (mine.v, "v"), (mine.out, "o")):
            yield ours.weight, getattr(theirs, name).weight

    def pairs():
        yield network.decoder.embedding.weight, peer.shared.weight
        yield network.head_weight, peer.lm_head.weight
        for ours, theirs in ((network.encoder, peer.encoder), (network.decoder, peer.decoder)):
            yield ours.norm.weight, theirs.final_layer_norm.weight
            yield ours.position.table.weight, theirs.block[0].layer[0].SelfAttention.relative_attention_bias.weight
            for block, layer in zip(ours.blocks, theirs.block, strict=True):
                yield from t5_attention(block.attention, layer.layer[0].SelfAttention)
                if ours is network.decoder:
                    yield from t5_attention(block.cross, layer.layer[1].EncDecAttention)
                for mine, name in (("gate", "wi_0"), ("up", "wi_1"), ("out", "wo")):
                    yield getattr(block.feed_forward, mine).weight, getattr(layer.layer[-1].DenseReluDense, name).weight
                for name, part in zip(block.norms, layer.layer, strict=True):
                    yield getattr(block, name).weight, part.layer_norm.weight

    copy(pairs())
    read, write = torch.randint(V, (2, T)), torch.randint(V, (2, 17))
    logits = network.logits(network(read, write))
    torch.testing.assert_close(logits, peer(read, decoder_input_ids=write).logits, rtol=0, atol=1e-6)
    padding = torch.arange(T)[None] >= torch.tensor([[T], [15]])
    logits = network.logits(network(read, write, -padding.long(), torch.zeros_like(write)))
    expected = peer(read, attention_mask=(~padding).long(), decoder_input_ids=write).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)
