"""Families whose queries and keys are normed over all heads, or by norms of each head's own, in float64."""

from functools import partial

import pytest
import torch
from transformers import Olmo2Config, Olmo2ForCausalLM, StableLmConfig, StableLmForCausalLM

from lmkit.layers import Gated, LayerNorm, RMSNorm, Rotary, SelfAttention
from lmkit.network import BranchNorm, Decoder, Parallel
from tests.peers.weights import attention_pairs, copy, gated_pairs, randomised

V, T = 60, 24
ROPE = {"rope_type": "default", "rope_theta": 100.0}
NUMBERS = {"vocab_size": V, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
NUMBERS |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}

pytestmark = pytest.mark.usefixtures("double")


def compare(network, peer, pairs):
    """Logits at once and token by token, and the gradient that reaches the embeddings."""
    copy(pairs)
    tokens = torch.randint(V, (2, T))
    logits, expected = network.logits(network(tokens)), peer(tokens).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    cache = network.cache()
    pieces = [network(part, cache=cache) for part in tokens.split((9, 1, 14), dim=1)]
    torch.testing.assert_close(network.logits(torch.cat(pieces, dim=1)), expected, rtol=0, atol=1e-5)
    direction = torch.randn_like(logits)
    (ours,) = torch.autograd.grad(logits, network.embedding.weight, direction)
    (theirs,) = torch.autograd.grad(expected, peer.get_input_embeddings().weight, direction)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())


def test_olmo_2():
    """Norms of what branches give; queries and keys are normed over all heads."""
    config = Olmo2Config(
        **NUMBERS, rope_parameters=ROPE, rms_norm_eps=1e-5, pad_token_id=None, attn_implementation="eager"
    )
    peer, norm = randomised(Olmo2ForCausalLM(config)), partial(RMSNorm, eps=1e-5)
    attention = partial(SelfAttention, kv_heads=2, qk_norm=norm, qk_norm_over="heads")
    position, feed_forward = partial(Rotary, base=100.0), partial(Gated, hidden=48)
    network = Decoder(V, 64, 32, 2, 4, norm, position, attention, feed_forward, BranchNorm, tied=False).eval()

    def pairs():
        yield network.embedding.weight, peer.model.embed_tokens.weight
        yield network.norm.weight, peer.model.norm.weight
        yield network.head.weight, peer.lm_head.weight
        for block, layer in zip(network.blocks, peer.model.layers, strict=True):
            yield from attention_pairs(block.attention, layer.self_attn)
            yield block.attention.q_norm.weight, layer.self_attn.q_norm.weight
            yield block.attention.k_norm.weight, layer.self_attn.k_norm.weight
            yield from gated_pairs(block.feed_forward, layer.mlp)
            yield block.attention_norm.weight, layer.post_attention_layernorm.weight
            yield block.feed_forward_norm.weight, layer.post_feedforward_layernorm.weight

    compare(network, peer, pairs())


def test_stablelm_2_12b():
    """Parallel branches; each head has a LayerNorm of its own; a quarter of each head is rotated."""
    config = StableLmConfig(
        **NUMBERS, rope_parameters=ROPE, qk_layernorm=True, use_parallel_residual=True, partial_rotary_factor=0.25,
        attn_implementation="eager",
    )  # fmt: skip
    peer = randomised(StableLmForCausalLM(config))
    attention = partial(SelfAttention, kv_heads=2, qk_norm=partial(LayerNorm, bias=False), qk_norm_over="own")
    position, feed_forward = partial(Rotary, base=100.0, width=2), partial(Gated, hidden=48)
    network = Decoder(V, 64, 32, 2, 4, LayerNorm, position, attention, feed_forward, Parallel, tied=False).eval()

    def pairs():
        yield network.embedding.weight, peer.model.embed_tokens.weight
        yield network.head.weight, peer.lm_head.weight
        norms = [(network.norm, peer.model.norm)]
        for block, layer in zip(network.blocks, peer.model.layers, strict=True):
            yield from attention_pairs(block.attention, layer.self_attn)
            yield from gated_pairs(block.feed_forward, layer.mlp)
            norms += [(block.norm, layer.input_layernorm)]
            for mine, theirs in ((block.attention.q_norm, "q_layernorm"), (block.attention.k_norm, "k_layernorm")):
                norms += zip(mine, getattr(layer.self_attn, theirs).norms, strict=True)
        for mine, theirs in norms:
            yield mine.weight, theirs.weight
            if mine.bias is not None:
                yield mine.bias, theirs.bias

    compare(network, peer, pairs())
