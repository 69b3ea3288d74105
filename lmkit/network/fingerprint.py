"""Fingerprints of tensors: all numbers count, and are read once, about three times as fast as BLAKE2 does it.

The bytes of a tensor, four at a time as a whole number, are multiplied by odd weights of eight bytes and added up, 2^64
being 0 again (multilinear hashing, Lemire and Kaser 2014, arXiv:1202.4961); the sums of its pieces are hashed. So one
number that is changed always changes its sum. Weights are twice as wide as numbers, since a product forgets high bits:
two signs would cancel each other; and they follow no rule, which tensors might follow too. So whatever else is changed,
the signs of a column too, is missed with a chance of at most 2^-32. That tells whether a file is what it was; it is no
guard against somebody who means to deceive.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import blake2b, shake_128

import torch
from torch import Tensor

PIECE = 1 << 20
"""Bytes that are added up together: few enough to stay in the cache of a CPU."""


def digest_of(tensor: Tensor) -> str:
    """Of shape, dtype and numbers."""
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    weights = _weights(PIECE // 4).to(flat.device)
    held = torch.empty(PIECE, dtype=torch.uint8, device=flat.device)  # aligned, as a tensor in a file may not be
    wide = torch.empty_like(weights)
    found = blake2b(f"{tensor.dtype} {tuple(tensor.shape)}".encode(), digest_size=16)
    for piece in flat.split(PIECE):
        held[: piece.numel()].copy_(piece)
        held[piece.numel() :].zero_()
        total = wide.copy_(held.view(torch.int32)).mul_(weights).sum()
        found.update(int(total).to_bytes(8, "little", signed=True))
    return found.hexdigest()


def fingerprint_of(digests: Mapping[str, str]) -> str:
    """Of several tensors, by their names and digests, in whatever order they come."""
    lines = sorted(f"{name} {digest}\n" for name, digest in digests.items())
    return blake2b("".join(lines).encode(), digest_size=16).hexdigest()


@cache
def _weights(count: int) -> Tensor:
    """So many odd weights, always the same."""
    drawn = bytearray(shake_128(b"lmkit").digest(8 * count))
    return torch.frombuffer(drawn, dtype=torch.int64) | 1
