"""Choices that look like chance and are none: drawn by a hash, the same on every machine and in every process."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


def draw(count: int, *about: object) -> int:
    """A number below `count`, drawn by what it is about."""
    digest = blake2b("\0".join(map(str, about)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count


def choose(options: Sequence[T], *about: object) -> T:
    """One of some options, drawn by what it is about."""
    return options[draw(len(options), *about)]
