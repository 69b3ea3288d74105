"""A decoder reads several continuations of one start in one row: each gives what it gives behind its start alone."""

import sys
from functools import partial

import pytest
import torch
from torch import nn

from lmkit.errors import UserError
from lmkit.layers import (
    ALiBi,
    At,
    Gated,
    GatedDeltaNet,
    LatentAttention,
    Learned,
    LearnedScale,
    MixtureOfExperts,
    NoPosition,
    RelativeBias,
    RMSNorm,
    Rotary,
    RotaryInterpolated,
    RotaryLlama3,
    RotaryLong,
    RotaryNTK,
    RotaryYaRN,
    SelfAttention,
    Sinusoidal,
)
from lmkit.layers.kernels import by_branch
from lmkit.network import (
    Decoder,
    Encoder,
    Layer,
    Parallel,
    PostNorm,
    SandwichNorm,
    follows_branches,
)
from lmkit.registry import load_plugins
from lmkit.tasks.compiling import compile_blocks
from lmkit.transforms import Checkpointing
from tests.conftest import ROOT
from tests.layers.test_branches import TREES, continuations, labels

V, CONTEXT = 50, 32
DOCUMENTS, BRANCHES = labels(TREES)
POSITIONS = {
    "rotary": Rotary,
    "part of a head": partial(Rotary, width=4),
    "learned": Learned,
    "sinusoidal": Sinusoidal,
    "alibi": ALiBi,
    "relative": partial(RelativeBias, buckets=6, longest=10),
    "yarn": partial(RotaryYaRN, factor=2.0),
    "interpolated": partial(RotaryInterpolated, factor=2.0),
    "ntk": partial(RotaryNTK, factor=2.0),
    "llama3": partial(RotaryLlama3, original_context=16),
    "long": partial(RotaryLong, short=[1.0, 2.0, 2.0], long=[4.0, 5.0, 6.0], original_context=32),
    "none": NoPosition,
}


def differential(dim, heads, **options):
    """The plugin, loaded when it is asked for."""
    load_plugins([str(ROOT / "plugins" / "differential_attention.py")])
    return sys.modules["lmkit_plugins.differential_attention"].DifferentialAttention(dim, heads, **options)


ATTENTIONS = {
    "kv_heads": partial(SelfAttention, kv_heads=2),
    "window": partial(SelfAttention, window=4),
    "qk_norm": partial(SelfAttention, qk_norm=RMSNorm),
    "qk_norm_over": partial(SelfAttention, qk_norm=LearnedScale, qk_norm_over="heads"),
    "soft_cap": partial(SelfAttention, soft_cap=2.0, window=6),
    "sinks": partial(SelfAttention, sinks=True, kv_heads=1),
    "gated": partial(SelfAttention, gated=True, bias=True),
    "latent": partial(LatentAttention, kv_rank=8),
    "latent of a window": partial(LatentAttention, kv_rank=8, q_rank=8, window=5),
    "differential": differential,
    "differential of a window": partial(differential, kv_heads=2, window=5),
}
PATTERN = [
    Layer(attention=partial(SelfAttention, window=3), position=Rotary),
    Layer(attention=LatentAttention, feed_forward=partial(MixtureOfExperts, experts=4, active=2)),
]
NETWORKS = {
    "pattern": {"pattern": PATTERN, "position": ALiBi},
    "mixture": {"feed_forward": partial(MixtureOfExperts, experts=4, active=2)},
    "parallel": {"block": Parallel, "feed_forward": Gated},
    "post-norm": {"block": PostNorm, "tied": False},
    "sandwich": {"block": SandwichNorm, "embedding_norm": RMSNorm, "soft_cap": 20.0},
}
ALL = {
    **{f"position {name}": {"position": position} for name, position in POSITIONS.items()},
    **{f"attention {name}": {"attention": attention} for name, attention in ATTENTIONS.items()},
    **{f"attention {name} by bias": {"attention": ATTENTIONS[name], "position": ALiBi} for name in ("sinks", "window")},
    "differential by bias": {"attention": differential, "position": POSITIONS["relative"]},
    **NETWORKS,
}


MASKED = ("position relative", "attention sinks by bias", "attention window by bias", "attention latent", "pattern")
"""In which distances are found in another way."""


def decoder(**parts):
    torch.manual_seed(0)
    network = Decoder(V, CONTEXT, 24, 2, 4, **parts)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.double()


def tokens():
    return torch.randint(V, DOCUMENTS.shape, generator=torch.Generator().manual_seed(1))


def upstream(seed=2):
    return torch.randn(*DOCUMENTS.shape, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def packed(network):
    return network.logits(network(tokens(), DOCUMENTS, branches=BRANCHES))


def alone(network):
    """(B, T, V): of each start what it gives in front of its first branch."""
    found = {row: [] for row in range(len(TREES))}
    for row, index, new in continuations(TREES):
        found[row].append(network.logits(network(tokens()[row : row + 1, index]))[:, -new:])
    return torch.cat([torch.cat(parts, dim=1) for parts in found.values()])


def same(network, other=None, atol=1e-11):
    """Compares logits and the gradients of all parameters."""
    parameters = list(network.parameters())
    got, expected = packed(other or network), alone(network)
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)
    mine = torch.autograd.grad(got, list((other or network).parameters()), upstream(), allow_unused=True)
    theirs = torch.autograd.grad(expected, parameters, upstream(), allow_unused=True)
    for one, exact, parameter in zip(mine, theirs, parameters, strict=True):
        zero = torch.zeros_like(parameter)
        one, exact = (zero if gradient is None else gradient for gradient in (one, exact))
        torch.testing.assert_close(one, exact, rtol=1e-9, atol=atol * 100)


@pytest.mark.parametrize("name", ALL)
def test_each_branch_gives_what_it_gives_behind_its_start_alone(name, monkeypatch):
    monkeypatch.setattr(by_branch, "LEAST", 1)
    same(decoder(**ALL[name]))


@pytest.mark.parametrize("name", MASKED)
def test_each_branch_of_a_few_tokens_gives_it_under_one_mask(name, monkeypatch):
    monkeypatch.setattr(by_branch, "LEAST", 10**6)
    same(decoder(**ALL[name]))


@pytest.mark.parametrize(
    "at", [At(branches=BRANCHES), At(branches=BRANCHES, documents=DOCUMENTS, causal=False)], ids=["documents", "causal"]
)
def test_attention_refuses_branches_that_have_no_meaning(at):
    x = torch.randn(*DOCUMENTS.shape, 24)
    with pytest.raises(ValueError, match="branches are those of documents that are causal"):
        SelfAttention(24, 4)(x, at)


def test_without_branches_of_its_own_a_row_is_that_of_its_documents():
    network = decoder()
    none = torch.zeros_like(BRANCHES)
    torch.testing.assert_close(network(tokens(), DOCUMENTS, branches=none), network(tokens(), DOCUMENTS))


def test_recomputed_blocks_are_told_of_branches():
    network = decoder(position=ALiBi)
    recomputed = Checkpointing()(decoder(position=ALiBi)).train()
    same(network, recomputed)


@pytest.mark.slow
def test_compiled_blocks_are_the_same_function():
    parts = {"attention": ATTENTIONS["window"], "position": ALiBi}
    compiled = decoder(**parts)
    torch.compiler.reset()
    compile_blocks(compiled)
    assert all(block._compiled_call_impl is not None for block in compiled.blocks)
    same(decoder(**parts), compiled)
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["position rotary", "attention window by bias", "attention latent", "pattern"])
def test_blocks_compile_whole_with_branches(name):
    network, whole = decoder(**ALL[name]), decoder(**ALL[name])
    torch.compiler.reset()
    for block in whole.blocks:
        block.compile(fullgraph=True, backend="aot_eager_decomp_partition", dynamic=False)
    same(network, whole)
    torch.compiler.reset()


def test_a_layer_that_does_not_follow_branches_is_named():
    linear = Layer(attention=partial(GatedDeltaNet, conv_width=2))
    network = decoder(pattern=[Layer(), linear])
    with pytest.raises(UserError, match=r"^blocks\.1\.attention is a GatedDeltaNet, which does not follow branches: "):
        network(tokens(), DOCUMENTS, branches=BRANCHES)
    assert not follows_branches(network)
    long = {"short": [1.0] * 3, "long": [4.0] * 3}
    network = decoder(position=partial(RotaryLong, original_context=CONTEXT // 2, **long))
    with pytest.raises(UserError, match=r"^position is a RotaryLong, which does not follow branches: "):
        network(tokens(), DOCUMENTS, branches=BRANCHES)
    assert not follows_branches(network)
    assert follows_branches(decoder(position=partial(RotaryLong, original_context=CONTEXT, **long)))


def test_a_plugin_that_does_not_say_so_does_not_follow():
    class Silent(SelfAttention):
        follows_branches = False

    assert not follows_branches(decoder(attention=Silent))
    assert follows_branches(decoder())


def test_a_network_that_does_not_take_branches_does_not_follow():
    class Own(Decoder):
        def forward(self, tokens, documents=None, cache=None, memory=None):
            return super().forward(tokens, documents, cache, memory)

    small = (V, CONTEXT, 24, 1, 4)
    assert not follows_branches(Own(*small))
    assert not follows_branches(Encoder(*small))
    assert follows_branches(Decoder(*small))


def test_branches_need_documents_and_no_cache():
    network = decoder()
    with pytest.raises(ValueError, match="give documents too"):
        network(tokens(), branches=BRANCHES)
    with pytest.raises(ValueError, match="documents or a cache"):
        network(tokens(), DOCUMENTS, network.cache(), branches=BRANCHES)
