"""Fingerprints of tensors: all numbers count, and are read once, at about the speed of memory.

The bytes of a tensor, eight at a time as a whole number, are multiplied by odd weights and added up, 2^64 being 0
again; the sums of its pieces are hashed. So one number that is changed always changes its sum, and several cancel each
other by chance only. That tells whether a file is what it was; it is no guard against somebody who means to deceive.
"""

from collections.abc import Mapping
from hashlib import blake2b

import torch
from torch import Tensor

PIECE = 1 << 20
"""Bytes that are added up together: few enough to stay in the cache of a CPU."""

_FACTOR = 0x1E3779B97F4A7C15


def digest_of(tensor: Tensor) -> str:
    """Of shape, dtype and numbers."""
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    weights = (torch.arange(PIECE // 8, device=flat.device) * 2 + 1) * _FACTOR
    held = torch.empty(PIECE, dtype=torch.uint8, device=flat.device)  # aligned, as a tensor in a file may not be
    found = blake2b(f"{tensor.dtype} {tuple(tensor.shape)}".encode(), digest_size=16)
    for piece in flat.split(PIECE):
        held[: piece.numel()].copy_(piece)
        held[piece.numel() :].zero_()
        found.update(int(held.view(torch.int64).mul_(weights).sum()).to_bytes(8, "little", signed=True))
    return found.hexdigest()


def fingerprint_of(digests: Mapping[str, str]) -> str:
    """Of several tensors, by their names and digests, in whatever order they come."""
    lines = sorted(f"{name} {digest}\n" for name, digest in digests.items())
    return blake2b("".join(lines).encode(), digest_size=16).hexdigest()
