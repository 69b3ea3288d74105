"""Distillation: how far a student's distribution over the next token is from a teacher's, at a temperature.

After Hinton et al. 2015 (arXiv:1503.02531); MiniLLM (Gu et al. 2023, arXiv:2306.08543) and GKD (Agarwal et al. 2023,
arXiv:2306.13649) compare which way round the divergence is taken. Above temperature 1 gradients shrink by about its
square, so multiply by that where the loss is added to another, or where learning rates are to suit as before (Hinton).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lmkit.data.packing import IGNORE
from lmkit.losses.chunks import chunked_sum, wide

Comparison = Callable[[Tensor, Tensor], Tensor]
"""Student's and teacher's log-probabilities (N, V) to nats a token (N), as `forward_kl` and `reverse_kl` do."""


def forward_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of log-probabilities (N, V), in nats (N): the student is to say all that the teacher may.

    It is Hinton's loss but for a constant, the entropy of the teacher.
    """
    return (teacher.exp() * (teacher - student)).sum(-1)


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(student || teacher) of log-probabilities (N, V), in nats (N): the student is to say nothing that the teacher
    would not (arXiv:2306.08543, eq. 1, token by token).
    """
    return forward_kl(teacher, student)


def between_logits(divergence: Comparison, student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """A divergence (N) of two softmaxes, by logits (N, V), in float32 or wider.

    Args:
        divergence: which one.
        student: logits (N, V).
        teacher: logits (N, V), of which no gradients are taken.
        temperature: by which both logits are divided.
    """
    return divergence(*((wide(logits) / temperature).log_softmax(-1) for logits in (student, teacher.detach())))


def top_k(logits: Tensor, k: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """A teacher's k highest log-probabilities (N, k) at a temperature, and their ids (N, k), by logits (N, V)."""
    found = (wide(logits) / temperature).log_softmax(-1).topk(k)
    return found.values, found.indices


def between_top_k(
    divergence: Comparison, student: Tensor, log_probabilities: Tensor, ids: Tensor, temperature: float = 1.0
) -> Tensor:
    """A divergence (N) where only the teacher's k likeliest tokens are known.

    Both distributions are made coarse in the same way: each of the k tokens is an outcome, and all other tokens are one
    more together. So it is a true divergence, of distributions over k + 1 outcomes: 0 or more, 0 where student and
    teacher agree on them, never above the full one, and for k = V the full one. How the student shares out what it
    gives to the others is left to it. What the teacher gives to them is 1 less its k probabilities, but the rounding
    error of float32 at least; where a file in few bits makes the sum another, all are brought to a sum of 1.

    Args:
        divergence: which one.
        student: logits (N, V).
        log_probabilities: the teacher's (N, k), at this temperature, as `top_k` gives them.
        ids: (N, k), different ones in a row.
        temperature: by which the student's logits are divided.
    """
    scaled, known = wide(student) / temperature, wide(log_probabilities)
    theirs, ours = known, scaled.gather(-1, ids)
    if ids.size(-1) < student.size(-1):  # there are others
        rest = (1 - known.exp().sum(-1, keepdim=True)).clamp(min=torch.finfo(torch.float32).eps).log()
        others = scaled.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)
        theirs, ours = torch.cat([known, rest], -1), torch.cat([ours, others], -1)
    return divergence(ours.log_softmax(-1), theirs.log_softmax(-1))


def chunked_distillation(
    compare: Callable[..., Tensor],
    head: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    hidden: Tensor,
    targets: Tensor,
    teacher: Sequence[Tensor],
    chunk: int = 2048,
) -> tuple[Tensor, Tensor]:
    """The divergence from a teacher without ever holding the student's logits of more than `chunk` tokens.

    Each chunk's gradient is taken while its logits exist, in the forward pass. Tokens that do not count are left out
    before anything is computed of them.

    Args:
        compare: logits (N, V) of the student and what is given as `teacher`, of the same tokens, to values (N), such as
            `partial(between_top_k, forward_kl)`. The teacher's logits need not exist at once either: give its hidden
            states, and `lambda logits, states: between_logits(forward_kl, logits, other.logits(states))`.
        head: the student's hidden states (N, D) to logits (N, V).
        parameters: what `head` reads; those that require it receive gradients.
        hidden: the student's (B, T, D).
        targets: ids (B, T), `IGNORE` where a token does not count; they are not looked at otherwise.
        teacher: tensors (B, T, ...) that tell what the teacher says, without gradients.
        chunk: tokens at a time.

    Returns:
        The summed divergence in nats (a scalar of float32 or wider) and the number of valid tokens.
    """
    valid = (targets != IGNORE).flatten().nonzero().squeeze(1)

    def loss(here: Tensor, *said: Tensor) -> Tensor:
        return compare(head(here), *said).sum()

    counting, *beside = (part.flatten(0, 1).index_select(0, valid) for part in (hidden, *teacher))
    return chunked_sum(loss, parameters, counting, beside, chunk), valid.new_tensor(len(valid))
