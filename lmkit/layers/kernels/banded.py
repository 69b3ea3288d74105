"""Attention within a window, in tiles: its cost and its masks grow with T times the window, not with T squared.

The row is cut into tiles at least as long as the window, so that a tile's queries see keys of their own tile and of
the one before it (and the one after it, if not causal) only. All tiles are computed at once, as a larger batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.layers.kernels.dense import weigh
from lmkit.layers.kernels.job import Job

LEAST = 64
"""The least length of a tile; shorter ones are slower, for their products of matrices are too small."""


def can_band(job: Job) -> bool:
    """Whether the window is short enough against the row that tiles are worth their copies."""
    return job.window is not None and job.branches is None and job.square and job.time > 2 * _tile(job)


def banded(job: Job) -> Tensor:
    """(B, H, T, L), for jobs with a window whose queries and keys are the same tokens."""
    tile, rows = _tile(job), job.q.size(0)
    missing = -job.time % tile
    q, k, v = (F.pad(part, (0, 0, 0, missing)).unflatten(2, (-1, tile)) for part in (job.q, *job.grown()))
    mask, bias = job.once("banded", lambda: _mask_and_bias(job, tile, missing))
    k, v = (_with_neighbours(part, job.causal) for part in (k, v))
    q, k, v = (part.transpose(1, 2).flatten(0, 1) for part in (q, k, v))  # (B N, H, tile, K)
    y = weigh(job, q, k, v, mask, bias)
    return y.unflatten(0, (rows, -1)).transpose(1, 2).flatten(2, 3)[:, :, : job.time]


def _tile(job: Job) -> int:
    return max(job.window or 0, LEAST)


def _with_neighbours(x: Tensor, causal: bool) -> Tensor:
    """Tiles (B, H, N, C, K) with the tile before them (and the one after): (B, H, N, 2C or 3C, K)."""
    around = [F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1], x]
    if not causal:
        around.append(F.pad(x, (0, 0, 0, 0, 0, 1))[:, :, 1:])
    return torch.cat(around, dim=3)


def _mask_and_bias(job: Job, tile: int, missing: int) -> tuple[Tensor, Tensor | None]:
    """Where the queries of each tile may look (B N, 1, C, 2C or 3C), and what is added to their scores (H, C, ..)."""
    tiles = (job.time + missing) // tile
    sides = 2 if job.causal else 3
    inside = torch.arange(tile, device=job.q.device)
    offsets = torch.arange(sides * tile, device=job.q.device) - tile
    distance = inside[:, None] - offsets  # (C, 2C or 3C)
    keys = torch.arange(tiles, device=job.q.device)[:, None] * tile + offsets  # (N, 2C or 3C)
    real = (keys >= 0) & (keys < job.time)
    mask = job.seen(distance) & real[:, None, :]  # (N, C, 2C or 3C)
    mask = mask | (distance == 0)  # so that a query of the padding sees itself, lest its softmax be of nothing
    if job.documents is not None:
        ids = F.pad(job.documents, (tile, missing + tile), value=-1)  # beside the row is no document
        queries = ids[:, tile : tile + tiles * tile].unflatten(1, (tiles, tile))
        around = ids.unfold(1, sides * tile, tile)[:, :tiles]  # (B, N, 2C or 3C)
        mask = mask & (queries.unsqueeze(-1) == around.unsqueeze(-2))
    mask = mask.expand(job.q.size(0), -1, -1, -1).flatten(0, 1).unsqueeze(1)
    return mask, job.biases(distance)
