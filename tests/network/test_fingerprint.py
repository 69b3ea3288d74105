"""Fingerprints of tensors: what they tell apart, and what they do not look at."""

from itertools import combinations, product

import pytest
import torch

from lmkit.network import fingerprint
from lmkit.network.fingerprint import digest_of, fingerprint_of


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(fingerprint, "PIECE", 64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.uint8, torch.bool])
@pytest.mark.parametrize("size", [1, 3, 8, 64, 101])
def test_every_bit_counts(dtype, size):
    bits = torch.randint(2, (size,), generator=torch.Generator().manual_seed(size)).to(torch.uint8)
    tensor = bits.to(dtype)
    found = {digest_of(tensor)}
    for number in range(size):
        other = tensor.clone()
        if dtype.is_floating_point:  # its last bit only
            other.view(torch.uint8)[number * other.itemsize] ^= 1
        else:
            other[number] = 1 - other[number].to(torch.uint8)
        found.add(digest_of(other))
    assert len(found) == size + 1


def test_places_shapes_and_dtypes_count():
    x = torch.arange(96.0)
    others = [x.flip(0), x.roll(1), x.roll(16), x.roll(32), x.view(2, 48), x.view(48, 2), x.int(), x[:-1], x * 2]
    others += [x.view(torch.int32), torch.cat([x, torch.zeros(1)]), torch.zeros(96), torch.zeros(95), torch.zeros(0)]
    assert len({digest_of(tensor) for tensor in (x, *others)}) == len(others) + 1


def test_where_the_numbers_are_in_memory_does_not_count():
    held = torch.randn(301).bfloat16()
    x = held[3:].clone()
    assert digest_of(held[3:]) == digest_of(x)  # not aligned to eight bytes
    square = x[:289].reshape(17, 17)
    assert digest_of(square.t()) == digest_of(square.t().contiguous()) != digest_of(square)
    assert digest_of(torch.nn.Parameter(x)) == digest_of(x)
    assert digest_of(x) == digest_of(x)


def test_names_count_and_their_order_does_not():
    digests = {"a": digest_of(torch.ones(2)), "b": digest_of(torch.zeros(2))}
    assert fingerprint_of(digests) == fingerprint_of(dict(reversed(digests.items())))
    others = [{"a": digests["b"], "b": digests["a"]}, {"a": digests["a"]}, {"a": digests["a"], "c": digests["b"]}]
    assert len({fingerprint_of(each) for each in (digests, *others)}) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_signs_and_exponents_count_alone_and_in_pairs(dtype):
    x = torch.randn(24, generator=torch.Generator().manual_seed(0)).to(dtype)
    top = x.itemsize - 1  # the byte with the sign and the first bits of the exponent
    places = range(24)
    for bit in (1 << 7, 1 << 6, 1):
        found = {digest_of(x)}
        for flipped in [*((place,) for place in places), *combinations(places, 2)]:
            other = x.clone()
            for place in flipped:
                other.view(torch.uint8)[place * x.itemsize + top] ^= bit
            found.add(digest_of(other))
        assert len(found) == 1 + 24 + 24 * 23 // 2


def test_signs_count_however_many_and_wherever_they_are():
    x = torch.randn(16, generator=torch.Generator().manual_seed(0))
    signs = torch.tensor([*product((1.0, -1.0), repeat=8)])
    for places in (slice(0, 16, 2), slice(1, 16, 2), slice(8)):  # low and high halves of whole numbers, and both
        found = set()
        for each in signs:
            other = x.clone()
            other[places] *= each
            found.add(digest_of(other))
        assert len(found) == len(signs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_negated_column_or_row_counts(dtype, monkeypatch):
    monkeypatch.setattr(fingerprint, "PIECE", 1 << 20)
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = {digest_of(x)}
    for number in range(32):
        for places in ((slice(None), number), number):
            other = x.clone()
            other[places] *= -1
            found.add(digest_of(other))
    assert len(found) == 1 + 2 * 32
