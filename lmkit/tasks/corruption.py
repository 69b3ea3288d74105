"""Texts damaged for a network to mend: pure functions of the tokens and a number, so that a run that is resumed, on
any number of processes, sees the same damage, and every validation does.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lmkit.data.packing import IGNORE


def draws(tokens: Tensor, number: int) -> Tensor:
    """Uniform numbers in [0, 1) for each token of each row (B, T), from the row's tokens and a number.

    They are the upper bits of splitmix64 (Steele et al. 2014, "Fast splittable pseudorandom number generators").
    """
    place = torch.arange(1, tokens.size(1) + 1, device=tokens.device)
    row = (_mix(tokens + (place << 32))).sum(dim=1, keepdim=True)  # integers wrap around
    return (_mix(_mix(row + number) + place) >> 11 & (1 << 53) - 1).double() * 2.0**-53


def draw_number(task: Any) -> int:
    """What the draws of a task depend on beside the tokens: the optimizer step in training, nothing elsewhere."""
    return task.trainer.global_step + 1 if task.training else 0


def mask(
    tokens: Tensor, targets: Tensor, mask_id: int, vocabulary: int, share: float, number: int
) -> tuple[Tensor, Tensor]:
    """Hides a share of the tokens: of those, 80 % become the mask, 10 % another token, and 10 % stay (BERT, Devlin et
    al. 2018, arXiv:1810.04805, section 3.1).

    Args:
        tokens: ids (B, T).
        targets: ids (B, T), IGNORE where a row's text is over.
        mask_id: the id of the mask.
        vocabulary: other tokens are drawn from ids below it.
        share: of the tokens that are to be predicted.
        number: another one gives other draws.

    Returns:
        The damaged tokens and what is to be predicted, IGNORE elsewhere, both (B, T).
    """
    chosen = (draws(tokens, 3 * number) < share) & (targets != IGNORE)
    fate = draws(tokens, 3 * number + 1)
    other = (draws(tokens, 3 * number + 2) * vocabulary).long()
    damaged = torch.where(fate < 0.8, mask_id, torch.where(fate < 0.9, other, tokens))
    return torch.where(chosen, damaged, tokens), torch.where(chosen, tokens, IGNORE)


class Spans(NamedTuple):
    """A text with spans cut out, and the spans: int64, S + T tokens of every row being one number.

    Attributes:
        read: the text, with a sentinel for each span (B, S).
        write: each span after its sentinel (B, T).
        targets: what follows each token of `write`, at last one more sentinel; IGNORE where a row's text is over.
        read_documents: the document of each token of `read`; none without documents.
        write_documents: the document of each token of `write`; none without documents.
    """

    read: Tensor
    write: Tensor
    targets: Tensor
    read_documents: Tensor | None
    write_documents: Tensor | None


def cut_spans(
    tokens: Tensor, targets: Tensor, documents: Tensor | None, last_id: int, share: float, length: float, number: int
) -> Spans:
    """Cuts out spans, as many and as long in every row, at random places (T5, Raffel et al. 2020, arXiv:1910.10683,
    section 3.1.4).

    Args:
        tokens: ids (B, N).
        targets: ids (B, N), IGNORE where a row's text is over.
        documents: the document of each token (B, N), or none.
        last_id: the first sentinel's id; the others' go down from there.
        share: of the tokens that is cut out.
        length: mean tokens of a span.
        number: another one gives other draws.
    """
    cut, spans = counts(tokens.size(1), share, length)
    opens_cut = _partition(draws(tokens, 2 * number)[:, : cut - 1], spans)  # (B, cut)
    opens_kept = _partition(draws(tokens, 2 * number + 1)[:, : tokens.size(1) - cut - 1], spans)
    inside = _interleave(opens_kept, opens_cut)  # (B, N): kept and cut parts by turns, a kept one first
    starts = inside & ~torch.nn.functional.pad(inside, (1, 0))[:, :-1]
    sentinels = last_id + 1 - starts.cumsum(dim=1)
    over = targets == IGNORE

    def pick(slots: Tensor, values: Tensor, number: int) -> Tensor:
        order = torch.sort((~slots).to(torch.uint8), dim=1, stable=True).indices[:, :number]
        return values.gather(1, order)

    read_slots = ~inside | starts
    write_slots = torch.stack([starts, inside], dim=2).flatten(1)  # (B, 2N): a sentinel before a span's first token
    written = torch.stack([sentinels, tokens], dim=2).flatten(1)
    write = pick(write_slots, written, cut + spans)
    end = torch.full_like(write[:, :1], last_id - spans)
    ended = pick(write_slots, over.repeat_interleave(2, dim=1), cut + spans)
    ended = torch.cat([ended, ended[:, -1:]], dim=1)[:, 1:]  # as the targets: of what comes next
    wanted = torch.cat([write, end], dim=1)[:, 1:].masked_fill(ended, IGNORE)
    kept = tokens.size(1) - cut + spans
    read = pick(read_slots, torch.where(starts, sentinels, tokens), kept)
    if documents is None:
        return Spans(read, write, wanted, None, None)
    both = documents.repeat_interleave(2, dim=1)
    return Spans(read, write, wanted, pick(read_slots, documents, kept), pick(write_slots, both, cut + spans))


def counts(time: int, share: float, length: float) -> tuple[int, int]:
    """How many of `time` tokens are cut out, and in how many spans; at least one, and one left between two spans."""
    cut = min(max(round(time * share), 1), time - 1)
    spans = min(max(round(cut / length), 1), cut, time - cut)
    return cut, spans


def _partition(drawn: Tensor, parts: int) -> Tensor:
    """Where the parts open, of a row cut in `parts` at random (B, n), given a draw for each place but the first."""
    opens = torch.zeros_like(drawn, dtype=torch.bool)
    opens.scatter_(1, drawn.argsort(dim=1)[:, : parts - 1], True)
    return torch.nn.functional.pad(opens, (1, 0), value=True)


def _interleave(kept: Tensor, cut: Tensor) -> Tensor:
    """Where the cut parts lie in a row of kept and cut parts by turns, given where the parts of each open."""
    turn = torch.cat([2 * kept.cumsum(1), 2 * cut.cumsum(1) + 1], dim=1)  # the k-th kept part before the k-th cut one
    return turn.sort(dim=1, stable=True).values % 2 == 1


def _mix(x: Tensor) -> Tensor:
    """The finaliser of splitmix64 on int64, whose products wrap around."""
    x = x + -7046029254386353131
    x = (x ^ (x >> 30 & (1 << 34) - 1)) * -4658895280553007687
    x = (x ^ (x >> 27 & (1 << 37) - 1)) * -7723592293110705685
    return x ^ (x >> 31 & (1 << 33) - 1)
