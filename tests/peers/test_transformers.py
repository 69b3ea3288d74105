"""Whole networks and attentions against transformers' own, with the same random weights, in float64."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM, GptOssConfig
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssAttention, GptOssRotaryEmbedding

from lmkit.layers import GELU, At, Gated, RMSNorm, Rotary, SelfAttention
from lmkit.network import Decoder, Layer, SandwichNorm

V, T = 60, 24


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def randomised(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def copy(pairs):
    """Our parameters from theirs, given as (ours, theirs) or (ours, theirs, change)."""
    with torch.no_grad():
        for ours, theirs, *change in pairs:
            ours.copy_(change[0](theirs) if change else theirs)


def attention_pairs(ours, theirs):
    for mine, name in ((ours.q, "q_proj"), (ours.k, "k_proj"), (ours.v, "v_proj"), (ours.out, "o_proj")):
        yield mine.weight, getattr(theirs, name).weight
        if mine.bias is not None:
            yield mine.bias, getattr(theirs, name).bias


def test_gemma_2():
    """Sandwich norms, soft caps of scores and logits, a scale of its own, scaled embeddings, windows by turns."""
    config = Gemma2Config(
        V, 32, 48, 4, 4, 2, head_dim=8, query_pre_attn_scalar=5, sliding_window=6, max_position_embeddings=64,
        final_logit_softcapping=2.0, attn_logit_softcapping=1.5, attn_implementation="eager",
    )  # fmt: skip
    peer = randomised(Gemma2ForCausalLM(config))
    attention = partial(SelfAttention, kv_heads=2, scale=5**-0.5, soft_cap=1.5)
    norm = partial(RMSNorm, eps=1e-6)
    feed_forward = partial(Gated, hidden=48, activation=partial(GELU, "tanh"))
    pattern = [Layer(attention=partial(attention, window=6)), Layer()]
    scale = torch.tensor(32**0.5).item()
    network = Decoder(
        V, 64, 32, 4, 4, norm, Rotary, attention, feed_forward, SandwichNorm, pattern=pattern, embedding_scale=scale,
        soft_cap=2.0,
    ).eval()  # fmt: skip

    def pairs():
        yield network.embedding.weight, peer.model.embed_tokens.weight
        yield network.norm.weight, peer.model.norm.weight, lambda w: 1 + w
        for block, layer in zip(network.blocks, peer.model.layers, strict=True):
            yield from attention_pairs(block.attention, layer.self_attn)
            for mine, theirs in (("gate", "gate_proj"), ("up", "up_proj"), ("out", "down_proj")):
                yield getattr(block.feed_forward, mine).weight, getattr(layer.mlp, theirs).weight
            names = ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm"]
            for mine, theirs in zip(block.norms, [*names, "post_feedforward_layernorm"], strict=True):
                yield getattr(block, mine).weight, getattr(layer, theirs).weight, lambda w: 1 + w

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
