"""The gated delta rule (Yang et al. 2024, arXiv:2412.06464), token after token and chunk after chunk.

Each head has a state S (K, L), a memory that maps keys to values. A token fades it by exp(g), looks up what its key
gives now, and writes the share beta of what is missing to its value:

    S_t = exp(g_t) S_t-1 + k_t d_t^T        d_t = beta_t (v_t - exp(g_t) S_t-1^T k_t)        o_t = S_t^T q_t

`recurrent_delta_rule` is just that. `chunked_delta_rule` does the same for C tokens at once by products of matrices
(the WY form of Yang et al. 2024, arXiv:2406.06484). With G_i the sum of g up to token i of a chunk, whose tokens are
the rows of Q, K, V and D, and with S the state that arrives,

    D = (I + A)^-1 diag(beta) (V - diag(e^G) K S)            A_ij = beta_i e^(G_i - G_j) k_i . k_j    where j < i
    O = diag(e^G) Q S + P D                                  P_ij = e^(G_i - G_j) q_i . k_j           where j <= i
    S' = e^(G_C) S + K^T diag(e^(G_C - G)) D                 is the state that leaves

All that does not need S is done for all chunks together; six products a chunk remain to be done in order.

Shapes: q and k (B, H, T, K), v (B, H, T, L), g <= 0 and beta (B, H, T), documents (B, T). States are of float32 or
wider. With documents the state is empty at the start of each; a state that is given belongs to the first token's.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.layers.autocast import without_autocast


def delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    state: Tensor | None = None,
    documents: Tensor | None = None,
    chunk: int = 32,
) -> tuple[Tensor, Tensor]:
    """Outputs (B, H, T, L) and the last state (B, H, K, L), in the cheaper of the two ways.

    Args:
        q: queries.
        k: keys, of length 1.
        v: values.
        g: logarithm of the factor by which each token fades the state.
        beta: share that is written, from 0 to 1; up to 2 is stable.
        state: from the tokens before; none for an empty one.
        documents: the document of each token, never falling along a row; none if a row is one.
        chunk: tokens that are done at once.
    """
    with without_autocast(q):
        if q.size(2) == 1:
            return recurrent_delta_rule(q, k, v, g, beta, state, documents)
        return chunked_delta_rule(q, k, v, g, beta, state, documents, chunk)


def recurrent_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    state: Tensor | None = None,
    documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The rule as it is written, token after token; arguments and results are those of `delta_rule`."""
    dtype, state = v.dtype, _start(k, v, state)
    q, k, v, g, beta = _widen(q, k, v, g, beta)
    fade = g.exp()
    if documents is not None:
        fade = fade * F.pad(documents[:, 1:] == documents[:, :-1], (1, 0), value=True).unsqueeze(1)
    outputs = []
    for t in range(q.size(2)):
        here = slice(t, t + 1)
        state = state * fade[:, :, here, None]
        missing = beta[:, :, here, None] * (v[:, :, here] - k[:, :, here] @ state)  # (B, H, 1, L)
        state = state + k[:, :, here].mT * missing
        outputs.append(q[:, :, here] @ state)
    return torch.cat(outputs, dim=2).to(dtype), state


def chunked_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    state: Tensor | None = None,
    documents: Tensor | None = None,
    chunk: int = 32,
) -> tuple[Tensor, Tensor]:
    """The rule for `chunk` tokens at once; arguments and results are those of `delta_rule`."""
    (batch, heads, time), dtype = v.shape[:3], v.dtype
    chunk = min(chunk, time)
    state = _start(k, v, state).flatten(0, 1)
    q, k, v, g, beta = (_cut(x, chunk) for x in _widen(q, k, v, g, beta))  # (B, H, N, C, K) and (B, H, N, C)
    within, arriving = _decays(g, None if documents is None else _cut_documents(documents, chunk))
    solve = _inverse(k @ k.mT * (within * beta.unsqueeze(-1))) * beta.unsqueeze(-2)
    scores = q @ k.mT * within
    leaving = (k * within[..., -1, :].unsqueeze(-1)).mT
    parts = (v, solve, scores, q * arriving, k * arriving, leaving, arriving[..., -1:, :])
    outputs = []
    for here in zip(*(part.flatten(0, 1).unbind(1) for part in parts), strict=True):
        output, state = _one_chunk(state, *here)
        outputs.append(output)
    o = torch.stack(outputs, dim=1).flatten(1, 2)[:, :time]
    return o.unflatten(0, (batch, heads)).to(dtype), state.unflatten(0, (batch, heads))


def _one_chunk(
    state: Tensor, v: Tensor, solve: Tensor, scores: Tensor, q: Tensor, k: Tensor, leaving: Tensor, fade: Tensor
) -> tuple[Tensor, Tensor]:
    """Output and next state of one chunk; first dimension B H, queries and keys already times e^G."""
    written = solve @ torch.baddbmm(v, k, state, alpha=-1)  # D (B H, C, L)
    return torch.baddbmm(scores @ written, q, state), torch.baddbmm(state * fade, leaving, written)


def _decays(g: Tensor, documents: Tensor | None) -> tuple[Tensor, Tensor]:
    """What is left at token i of what token j wrote (..., C, C), and of the state that arrived (..., C, 1); zero where
    j is later or of another document, and where the state is.

    The exponents are summed token by token, not taken as differences of G: those would carry the rounding errors of
    all that lies before j.
    """
    lower = torch.ones(g.size(-1), g.size(-1), dtype=g.dtype, device=g.device).tril()
    within = (lower @ (g.unsqueeze(-1) * lower.tril(-1))).exp()  # of the sum of g_t over j < t <= i
    arriving = g.cumsum(-1).exp()
    if documents is None:
        return within * lower, arriving.unsqueeze(-1)
    before = torch.cat([documents[:, :, :1, :1], documents[:, :, :-1, -1:]], dim=2)  # the state's (B, 1, N, 1)
    within = within * (lower * (documents.unsqueeze(-1) == documents.unsqueeze(-2)))
    return within, (arriving * (documents == before)).unsqueeze(-1)


def _inverse(below: Tensor) -> Tensor:
    """(I + A)^-1 of matrices (..., C, C) whose part below the diagonal is A; the rest is not read."""
    one = torch.eye(below.size(-1), dtype=below.dtype, device=below.device).expand_as(below)
    return torch.linalg.solve_triangular(below, one, upper=False, unitriangular=True)


def _start(k: Tensor, v: Tensor, state: Tensor | None) -> Tensor:
    """The state given, or an empty one, in the dtype of states."""
    if state is None:
        state = v.new_zeros(*k.shape[:2], k.size(-1), v.size(-1))
    return _widen(state)[0]


def _widen(*tensors: Tensor) -> Sequence[Tensor]:
    """In float32 at least."""
    return [x.to(torch.promote_types(x.dtype, torch.float32)) for x in tensors]


def _cut(x: Tensor, chunk: int) -> Tensor:
    """(B, H, T, ...) to (B, H, N, C, ...), filled up by tokens of zeros, which neither fade nor write."""
    missing = -x.size(2) % chunk
    x = F.pad(x, (0, 0) * (x.ndim - 3) + (0, missing)) if missing else x
    return x.unflatten(2, (-1, chunk))


def _cut_documents(documents: Tensor, chunk: int) -> Tensor:
    """(B, T) to (B, 1, N, C), filled up by the last document, to which the last state belongs."""
    missing = -documents.size(1) % chunk
    filled = torch.cat([documents, documents[:, -1:].expand(-1, missing)], dim=1)
    return filled.unflatten(1, (-1, chunk)).unsqueeze(1)
