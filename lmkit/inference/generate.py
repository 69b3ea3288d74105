"""Generation: one token after another, each computed once thanks to the cache."""

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from torch import Tensor

from lmkit.inference.sampling import Sampler
from lmkit.network import Cache, Decoder


@torch.inference_mode()
def generate(
    network: Decoder, tokens: Tensor, choose: Callable[[Tensor], Tensor], count: int, cached: bool = True
) -> Iterator[Tensor]:
    """Continues rows of tokens.

    A row may outgrow the context: the network then reads its last half context anew and goes on from there.

    Args:
        network: in evaluation mode.
        tokens: the prompts (B, T), T at least 1.
        choose: logits (B, V) to ids (B), such as a `Sampler`.
        count: tokens to generate a row.
        cached: whether past keys and values are kept; without, every step reads the whole row again.

    Yields:
        The next id of each row (B).
    """
    start, cache = 0, None
    for _ in range(count):
        if tokens.size(1) - start > network.context:
            start, cache = tokens.size(1) - max(1, network.context // 2), None
        logits, cache = _next_logits(network, tokens[:, start:], cache if cached else None)
        chosen = choose(logits)
        tokens = torch.cat([tokens, chosen.unsqueeze(1)], dim=1)
        yield chosen


def _next_logits(network: Decoder, tokens: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
    """Logits (B, V) after the tokens (B, T), reading only those that the cache has not seen."""
    cache = cache or network.cache()
    with torch.compiler.set_stance("force_eager"):  # shapes grow by one each step: compiling them would never end
        hidden = network(tokens[:, cache.length :], cache=cache)
    return network.logits(hidden[:, -1]), cache


def complete(
    network: Decoder,
    tokenizer: Tokenizer,
    end_of_document: int,
    prompt: str,
    sampler: Sampler,
    count: int = 128,
    samples: int = 1,
    cached: bool = True,
) -> Iterator[list[str]]:
    """Continues a text, `samples` times at once, until the document ends or `count` tokens are out.

    Yields:
        The new piece of each sample, empty where it has ended or a character is not whole yet.
    """
    ids = [end_of_document, *tokenizer.encode(prompt, add_special_tokens=False).ids]
    return go_on(network, tokenizer, ids, (end_of_document,), sampler, count, samples, cached)


def go_on(
    network: Decoder,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    stops: Collection[int],
    sampler: Sampler,
    count: int = 128,
    samples: int = 1,
    cached: bool = True,
) -> Iterator[list[str]]:
    """Continues tokens, `samples` times at once, until one of `stops` comes or `count` tokens are out.

    Yields:
        The new piece of each sample, empty where it has ended or a character is not whole yet.
    """
    device = next(network.parameters()).device
    tokens = torch.tensor([[*ids]] * samples, device=device)
    streams = [DecodeStream(skip_special_tokens=True) for _ in range(samples)]
    ended = [False] * samples
    for chosen in generate(network, tokens, sampler, count, cached):
        pieces = [""] * samples
        for i, token in enumerate(chosen.tolist()):
            ended[i] = ended[i] or token in stops
            if not ended[i]:
                pieces[i] = streams[i].step(tokenizer, token) or ""
        yield pieces
        if all(ended):
            return
