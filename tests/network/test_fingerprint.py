"""Fingerprints of tensors: what they tell apart, and what they do not look at."""

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
