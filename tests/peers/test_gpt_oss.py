"""gpt-oss as a whole: sinks, biases, windows by turns, YaRN without whole pairs, clamped experts; in float64."""

from functools import partial

import pytest
import torch
from transformers import GptOssConfig, GptOssForCausalLM

from lmkit.layers import ClampedMixture, RMSNorm, RotaryYaRN, SelfAttention, SoftmaxRouter
from lmkit.network import Decoder, Layer
from tests.peers.weights import attention_pairs, copy, randomised

V, T = 60, 24

pytestmark = pytest.mark.usefixtures("double")


def test_gpt_oss():
    rope = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 8.0, "beta_fast": 4.0, "beta_slow": 1.0}
    config = GptOssConfig(
        4, 4, V, 32, 24, 8, 4, 2, sliding_window=6, max_position_embeddings=512, attention_bias=True,
        layer_types=["sliding_attention", "full_attention"] * 2, num_experts_per_tok=2, pad_token_id=None,
        rope_parameters=rope | {"original_max_position_embeddings": 64, "truncate": False}, attn_implementation="eager",
        experts_implementation="eager",  # whose other one is not made for float64
    )  # fmt: skip
    peer = randomised(GptOssForCausalLM(config))
    position = partial(RotaryYaRN, factor=8.0, original_context=64, base=1000.0, fast=4.0, truncate=False)
    norm, attention = partial(RMSNorm, eps=1e-5), partial(SelfAttention, kv_heads=2, head_dim=8, sinks=True, bias=True)
    feed_forward = partial(ClampedMixture, experts=4, active=2, hidden=24, router=partial(SoftmaxRouter, bias=True))
    pattern = [Layer(attention=partial(attention, window=6)), Layer()]
    network = Decoder(
        V, 512, 32, 4, 4, norm, position, attention, feed_forward, tied=False, pattern=pattern
    ).eval()  # fmt: skip

    def pairs():
        yield network.embedding.weight, peer.model.embed_tokens.weight
        yield network.norm.weight, peer.model.norm.weight
        yield network.head.weight, peer.lm_head.weight
        for block, layer in zip(network.blocks, peer.model.layers, strict=True):
            yield from attention_pairs(block.attention, layer.self_attn)
            yield block.attention.sinks, layer.self_attn.sinks
            yield block.attention_norm.weight, layer.input_layernorm.weight
            yield block.feed_forward_norm.weight, layer.post_attention_layernorm.weight
            mine, router, experts = block.feed_forward, layer.mlp.router, layer.mlp.experts
            yield mine.router.project.weight, router.weight
            yield mine.router.project.bias, router.bias
            for ours, every in ((mine.gate, slice(0, None, 2)), (mine.up, slice(1, None, 2))):
                yield ours.weight, experts.gate_up_proj[..., every].mT
                yield ours.bias, experts.gate_up_proj_bias[..., every].flatten()
            yield mine.out.weight, experts.down_proj.mT
            yield mine.out.bias, experts.down_proj_bias.flatten()

    copy(pairs())
    tokens = torch.randint(V, (2, T))
    expected = peer(tokens).logits
    torch.testing.assert_close(network.logits(network(tokens)), expected, rtol=0, atol=1e-5)
    cache = network.cache()
    pieces = [network(part, cache=cache) for part in tokens.split((9, 1, 14), dim=1)]
    torch.testing.assert_close(network.logits(torch.cat(pieces, dim=1)), expected, rtol=0, atol=1e-5)
