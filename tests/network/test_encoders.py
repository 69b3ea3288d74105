"""Encoder and encoder-decoder: built of the decoder's layers, seeing both ways, and reading each other."""

from functools import partial

import pytest
import torch
from torch import nn

from lmkit.errors import UserError
from lmkit.layers import (
    ALiBi,
    CrossAttention,
    Gated,
    LayerNorm,
    Learned,
    NoPosition,
    RelativeBias,
    RMSNorm,
    Rotary,
    SelfAttention,
    Sinusoidal,
)
from lmkit.layers.kinds import At
from lmkit.network import CrossPreNorm, Decoder, Encoder, EncoderDecoder, PostNorm, PreNorm
from lmkit.network.pattern import Layer

V, S, T = 50, 14, 9
CROSS = partial(CrossPreNorm, cross=partial(CrossAttention, heads=4))


def filled(network):
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.double().eval()


def both(**options):
    encoder = partial(Encoder, V, 16, 24, 2, 4, **options)
    return filled(EncoderDecoder(encoder, partial(Decoder, V, 16, 24, 3, 4, block=CROSS, **options)))


def ids(rows, time):
    return torch.randint(V, (rows, time), generator=torch.Generator().manual_seed(time))


def test_a_decoder_that_never_looks_at_the_encoder_is_refused():
    with pytest.raises(UserError, match=r"no block of the decoder looks.*CrossPreNorm"):
        EncoderDecoder(partial(Encoder, V, 16, 24, 2, 4), partial(Decoder, V, 16, 24, 2, 4))


def test_a_bias_for_one_direction_is_refused_where_both_are_seen():
    with pytest.raises(UserError, match="RelativeBias is false, but an encoder looks both ways: set it to true"):
        Encoder(V, 16, 24, 2, 4, position=RelativeBias)
    with pytest.raises(UserError, match="both_ways of RelativeBias is true, but a decoder looks back only"):
        Decoder(V, 16, 24, 2, 4, pattern=[Layer(position=partial(RelativeBias, both_ways=True))])


@pytest.mark.parametrize("position", [Learned, Sinusoidal, Rotary, ALiBi, NoPosition])
@pytest.mark.parametrize("block", [PreNorm, PostNorm])
def test_every_token_of_an_encoder_sees_every_other(position, block):
    network = filled(Encoder(V, 16, 24, 1, 4, LayerNorm, position, block=block))
    embedded = []
    network.embedding.register_forward_hook(lambda *_: embedded.append(_[2].requires_grad_()) or embedded[-1])
    hidden = network(ids(1, S))
    for t in range(S):
        (gradient,) = torch.autograd.grad(hidden[0, t].pow(3).sum(), embedded[0], retain_graph=True)
        assert (gradient[0].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("position", [Learned, Rotary, ALiBi])
@pytest.mark.parametrize("window", [None, 3])
def test_an_encoder_keeps_documents_apart(position, window):
    network = filled(Encoder(V, 16, 24, 2, 4, RMSNorm, position, partial(SelfAttention, window=window)))
    tokens, lengths = ids(1, S), [5, 1, 8]
    documents = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))[None]
    alone = torch.cat([network(part) for part in tokens.split(lengths, dim=1)], dim=1)
    torch.testing.assert_close(network(tokens, documents), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"feed_forward": Gated, "position": ALiBi}, {"position": Learned}])
def test_writing_token_by_token_equals_writing_at_once(options):
    network, read, write = both(**options), ids(2, S), ids(2, T)
    memory, cache = network.memory(read), network.cache()
    pieces = [network.decoder(piece, cache=cache, memory=memory) for piece in write.split([4, 1, 1, 3], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), network(read, write), rtol=0, atol=1e-10)


def test_what_is_written_sees_all_that_is_read_and_nothing_later():
    network, read, write = both(), ids(2, S), ids(2, T)
    before = network(read, write)
    for place in (0, S - 1):
        other = read.clone()
        other[:, place] = (other[:, place] + 1) % V
        assert ((network(other, write) - before).abs().amax(-1) > 1e-6).all()
    later = write.clone()
    later[:, 5:] = (later[:, 5:] + 1) % V
    torch.testing.assert_close(network(read, later)[:, :5], before[:, :5], rtol=0, atol=1e-12)


def test_documents_and_padding_of_what_is_read():
    network, read, write = both(), ids(1, S), ids(1, T)
    lengths_read, lengths_write = [5, 6, 3], [4, 5]
    read_documents = torch.repeat_interleave(torch.tensor([0, 1, 2]), torch.tensor(lengths_read))[None]
    write_documents = torch.repeat_interleave(torch.tensor([0, 1]), torch.tensor(lengths_write))[None]
    pairs = zip(
        read.split(lengths_read, dim=1), write.split(lengths_write, dim=1), strict=False
    )  # the third is padding
    alone = torch.cat([network(*pair) for pair in pairs], dim=1)
    torch.testing.assert_close(network(read, write, read_documents, write_documents), alone, rtol=0, atol=1e-10)


def test_padding_of_what_is_read_is_not_looked_at_by_one_text_a_row_with_a_cache_or_without():
    network, read, write, length = both(), ids(2, S), ids(2, T), 9
    documents = torch.zeros(2, S, dtype=torch.long)
    documents[1, length:] = -1
    expected = torch.cat([network(read[:1], write[:1]), network(read[1:, :length], write[1:])])
    zeros = torch.zeros(2, T, dtype=torch.long)
    for written in (None, zeros):
        torch.testing.assert_close(network(read, write, documents, written), expected, rtol=0, atol=1e-10)
    memory, cache = network.memory(read, documents), network.cache()
    pieces = [network.decoder(piece, cache=cache, memory=memory) for piece in write.split([4, 1, 4], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, rtol=0, atol=1e-10)


def test_both_have_one_embedding_and_no_second_head():
    network = both(tied=False)
    assert network.encoder.embedding is network.decoder.embedding
    assert network.encoder.head is None
    assert network.head_weight is network.decoder.head.weight
    apart = EncoderDecoder(
        partial(Encoder, V, 16, 24, 1, 4), partial(Decoder, V, 16, 24, 1, 4, block=CROSS), shared=False
    )
    assert apart.encoder.embedding is not apart.decoder.embedding


def test_what_does_not_fit_is_said():
    with pytest.raises(UserError, match="dim is 24 in the encoder and 48 in the decoder"):
        EncoderDecoder(partial(Encoder, V, 16, 24, 1, 4), partial(Decoder, V, 16, 48, 1, 4, block=CROSS))
    with pytest.raises(UserError, match="use it in an EncoderDecoder only"):
        CrossAttention(24, 4)(torch.randn(1, 3, 24), At())


def test_a_decoder_learns_to_say_what_was_read():
    torch.manual_seed(0)
    network = EncoderDecoder(partial(Encoder, V, 16, 32, 1, 4), partial(Decoder, V, 16, 32, 1, 4, block=CROSS))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(60):
        read = torch.randint(V, (32, 1))
        hidden = network(read, torch.zeros(32, 2, dtype=torch.long))
        loss = nn.functional.cross_entropy(network.logits(hidden).flatten(0, 1), read.expand(-1, 2).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1.0  # of log 50 = 3.9, below which no decoder alone could come
