"""The order of training rows: which row is the i-th sample of a run, for any i, without a list of them.

Each epoch is a permutation by a Feistel network over the next power of two, walked until it falls among the rows
(Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). It is a pure function of the seed, the data's
fingerprint and the sample's index: never of ranks, workers, or how often a run was resumed.
"""

from functools import lru_cache
from hashlib import blake2b

_ROUNDS = 8  # each changes one half of the bits by the other
_MASK = 2**64 - 1


class Order:
    """`order[i]` is the row of the i-th sample of the run; every epoch of `rows` samples has each row once."""

    def __init__(self, rows: int, seed: int, fingerprint: str) -> None:
        """`rows` is their number, at least 1; `seed` and `fingerprint` (of the data) choose the permutations."""
        if rows < 1:
            raise ValueError(f"an order needs at least 1 row, came {rows}")
        self.rows, self.seed, self.fingerprint = rows, seed, fingerprint
        bits = (rows - 1).bit_length()
        self._low_bits = bits // 2
        self._low_mask = (1 << self._low_bits) - 1
        self._high_mask = (1 << (bits - self._low_bits)) - 1

    def __getitem__(self, sample: int) -> int:
        """The row of a sample, by its index in the whole run, from 0."""
        if sample < 0:
            raise IndexError(f"sample {sample}: samples count from 0")
        epoch, row = divmod(sample, self.rows)
        keys = _keys(self.seed, self.fingerprint, epoch)
        row = self._permute(row, keys)
        while row >= self.rows:  # fewer than one more step is needed on average
            row = self._permute(row, keys)
        return row

    def _permute(self, number: int, keys: tuple[int, ...]) -> int:
        """A bijection of [0, 2**bits): every round can be undone, since it leaves the half that it reads."""
        high, low = number >> self._low_bits, number & self._low_mask
        for even, odd in zip(keys[::2], keys[1::2], strict=True):
            high ^= _mix(low, even) & self._high_mask
            low ^= _mix(high, odd) & self._low_mask
        return high << self._low_bits | low


def _mix(number: int, key: int) -> int:
    """Scrambles 64 bits; the multipliers are those of splitmix64."""
    number = ((number ^ key) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ number >> 29) * 0x94D049BB133111EB) & _MASK
    return number ^ number >> 32


@lru_cache(maxsize=16)
def _keys(seed: int, fingerprint: str, epoch: int) -> tuple[int, ...]:
    """A 64-bit key for each round."""
    digest = blake2b(f"{seed}/{fingerprint}/{epoch}".encode(), digest_size=8 * _ROUNDS).digest()
    return tuple(int.from_bytes(digest[start : start + 8], "big") for start in range(0, len(digest), 8))
