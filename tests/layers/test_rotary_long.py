"""LongRoPE: against transformers to the last bit, documents by themselves, and what a cache keeps."""

from functools import partial

import pytest
import torch
from torch import nn
from transformers import Phi3Config
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

from lmkit.errors import UserError
from lmkit.layers import Rotary, RotaryLong
from lmkit.layers.rotary_long import last_of_document
from lmkit.network import Decoder

D, H, ORIGINAL = 64, 4, 12
SHORT = [1.0, 1.05, 1.1, 1.3, 1.5, 2.0, 2.5, 3.0]
LONG = [1.1, 1.5, 2.5, 4.0, 7.0, 9.0, 20.0, 30.0]
LENGTHS = [5, 1, 13, 12, 20]
make = partial(RotaryLong, D, H, 96, SHORT, LONG, ORIGINAL)


def rotation(position, positions):
    return position(torch.zeros(*positions.shape, D), positions)[1].rotation[:2]


@pytest.mark.parametrize("first", [0, 3, 11, 12, 5000])
@pytest.mark.parametrize("time", [1, 9, 12, 13, 40])
@pytest.mark.parametrize("context", [96, 8])
def test_it_is_phi_3s_to_the_last_bit(first, time, context):
    rope = {"rope_type": "longrope", "rope_theta": 500.0, "short_factor": SHORT, "long_factor": LONG}
    config = Phi3Config(
        hidden_size=D, num_attention_heads=H, max_position_embeddings=context, rope_parameters=rope,
        original_max_position_embeddings=ORIGINAL,
    )  # fmt: skip
    positions = torch.arange(first, first + time)[None]
    theirs = Phi3RotaryEmbedding(config)(torch.zeros(1, time, D), positions)
    found = rotation(RotaryLong(D, H, context, SHORT, LONG, ORIGINAL, 500.0), positions)
    for ours, other in zip(found, theirs, strict=True):
        assert torch.equal(ours[:, 0], other)


def test_each_pair_is_slower_by_its_factor_and_all_are_louder():
    for time, factors in ((ORIGINAL, SHORT), (ORIGINAL + 1, LONG)):
        positions = torch.arange(time)[None]
        cos, sin = rotation(make(base=100.0), positions)
        plain = Rotary(D, H, 96, base=100.0).angles(positions)
        angles = (plain / torch.tensor(factors)).repeat(1, 1, 2)
        louder = (1 + torch.tensor(96 / ORIGINAL).log() / torch.tensor(ORIGINAL).log()).sqrt()
        torch.testing.assert_close(cos[:, 0], louder * angles.cos(), rtol=0, atol=1e-5)
        torch.testing.assert_close(sin[:, 0], louder * angles.sin(), rtol=0, atol=1e-5)
    assert make(attention_factor=1.3).amplitude == 1.3
    assert RotaryLong(D, H, 8, SHORT, LONG, ORIGINAL).amplitude == 1


def test_documents_and_rows_do_not_lengthen_each_other():
    packed = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    ends = torch.cat([torch.full((length,), length - 1) for length in LENGTHS])[None]
    assert torch.equal(last_of_document(packed), ends)
    alone = [rotation(make(), torch.arange(length)[None]) for length in LENGTHS]
    for whole, *parts in zip(rotation(make(), packed), *alone, strict=True):
        assert torch.equal(whole, torch.cat(parts, dim=2))
    rows = torch.stack([torch.arange(13), torch.cat([torch.arange(12), torch.zeros(1, dtype=torch.long)])])
    first, second = rotation(make(), rows)[0]
    assert not torch.equal(first[:, :12], second[:, :12])
    assert torch.equal(second[:, :12], rotation(make(), torch.arange(12)[None])[0][0])


def filled(time):
    torch.manual_seed(0)
    network = Decoder(50, 96, D, 2, H, position=partial(RotaryLong, short=SHORT, long=LONG, original_context=ORIGINAL))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.double().eval(), torch.randint(50, (2, time))


def test_a_network_reads_documents_as_if_alone():
    network, ids = filled(sum(LENGTHS))
    documents = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))[None].expand(2, -1)
    alone = [network(part) for part in ids.split(LENGTHS, dim=1)]
    torch.testing.assert_close(network(ids, documents=documents), torch.cat(alone, dim=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pieces", [(5, 1, 1, 5), (13, 1, 1, 20), (40, 1)])
def test_cached_decoding_equals_reading_at_once_on_either_side_of_the_original_context(pieces):
    network, ids = filled(sum(pieces))
    cache = network.cache()
    found = torch.cat([network(part, cache=cache) for part in ids.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(found, network(ids), rtol=0, atol=1e-10)


def test_across_it_keys_that_are_kept_stay_as_they_were():
    network, ids = filled(14)
    cache = network.cache()
    pieces = [network(part, cache=cache) for part in ids.split((12, 2), dim=1)]
    assert torch.equal(pieces[0], network(ids[:, :12]))
    assert not torch.allclose(pieces[1], network(ids)[:, 12:], atol=1e-3)


def test_nothing_waits_for_numbers_of_the_device():
    """Where there are no numbers, a choice by them would fail."""
    positions = torch.arange(20, device="meta")[None]
    _, at = make().to("meta")(torch.zeros(1, 20, D, device="meta"), positions)
    assert at.rotation.cos.shape == (1, 1, 20, D // H)


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"short": SHORT[1:]}, "short has 7 numbers, but 8 pairs are rotated: give one for each"),
        ({"long": []}, "long has 0 numbers"),
        ({"width": 6}, "short has 8 numbers, but 3 pairs"),
        ({"long": [0.0, *LONG[1:]]}, "long has 0: give numbers above 0"),
        ({"original_context": 1}, "original_context is 1: give the tokens"),
    ],
)
def test_what_does_not_fit_is_said(options, needed):
    with pytest.raises(UserError, match=needed):
        RotaryLong(D, H, 96, **({"short": SHORT, "long": LONG, "original_context": ORIGINAL} | options))
