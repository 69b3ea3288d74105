"""Phi-3 with the two sets of factors of LongRoPE, on either side of the original context and across it, in float64."""

from functools import partial

import pytest
import torch
from transformers import DynamicCache, Phi3Config, Phi3ForCausalLM

from lmkit.layers import Gated, RMSNorm, RotaryLong, SelfAttention
from lmkit.network import Decoder
from tests.peers.weights import copy, randomised

V, ORIGINAL = 60, 12
SHORT, LONG = [1.0, 1.1, 1.3], [1.5, 4.0, 9.0]

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture
def both():
    """Ours and theirs, of the same weights; three quarters of each head are rotated, as in Phi-4-mini."""
    rope = {"rope_type": "longrope", "rope_theta": 100.0, "short_factor": SHORT, "long_factor": LONG}
    config = Phi3Config(
        V, 32, 48, 2, 4, 2, max_position_embeddings=96, original_max_position_embeddings=ORIGINAL, rope_parameters=rope,
        partial_rotary_factor=0.75, pad_token_id=None, attn_implementation="eager",
    )  # fmt: skip
    peer = randomised(Phi3ForCausalLM(config))
    position = partial(RotaryLong, short=SHORT, long=LONG, original_context=ORIGINAL, base=100.0, width=6)
    norm, attention, feed_forward = (
        partial(RMSNorm, eps=1e-5),
        partial(SelfAttention, kv_heads=2),
        partial(Gated, hidden=48),
    )
    network = Decoder(V, 96, 32, 2, 4, norm, position, attention, feed_forward, tied=False).eval()

    def pairs():
        yield network.embedding.weight, peer.model.embed_tokens.weight
        yield network.norm.weight, peer.model.norm.weight
        yield network.head.weight, peer.lm_head.weight
        for block, layer in zip(network.blocks, peer.model.layers, strict=True):
            mine = block.attention
            fused = layer.self_attn.qkv_proj.weight.split((32, 16, 16))
            yield from zip((mine.q.weight, mine.k.weight, mine.v.weight), fused, strict=True)
            yield mine.out.weight, layer.self_attn.o_proj.weight
            mine = block.feed_forward
            yield from zip((mine.gate.weight, mine.up.weight), layer.mlp.gate_up_proj.weight.chunk(2), strict=True)
            yield mine.out.weight, layer.mlp.down_proj.weight
            yield block.attention_norm.weight, layer.input_layernorm.weight
            yield block.feed_forward_norm.weight, layer.post_attention_layernorm.weight

    copy(pairs())
    return network, peer


@pytest.mark.parametrize("time", [5, ORIGINAL, ORIGINAL + 1, 60])
def test_logits(both, time):
    network, peer = both
    tokens = torch.randint(V, (2, time))
    torch.testing.assert_close(network.logits(network(tokens)), peer(tokens).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pieces", [(5, 1, 6, 1, 1, 9), (9, 7), (13, 1, 5)])
def test_decoding_with_a_cache(both, pieces):
    """Also across the original context, where both keep the keys as they were."""
    network, peer = both
    ours, theirs = network.cache(), DynamicCache(config=peer.config)
    for part in torch.randint(V, (2, sum(pieces))).split(pieces, dim=1):
        expected = peer(part, past_key_values=theirs, use_cache=True).logits
        torch.testing.assert_close(network.logits(network(part, cache=ours)), expected, rtol=0, atol=1e-5)
