import time

import pytest

from lmkit.data.order import Order


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 100, 1000, 1023, 1024, 1025, 4097])
def test_every_epoch_has_each_row_once(rows: int) -> None:
    order = Order(rows, 1, "data")
    for epoch in range(3):
        assert sorted(order[epoch * rows + i] for i in range(rows)) == list(range(rows))


def test_is_a_function_of_seed_data_and_epoch() -> None:
    def first(seed: int, fingerprint: str, epoch: int = 0) -> list[int]:
        order = Order(500, seed, fingerprint)
        return [order[epoch * 500 + i] for i in range(500)]

    assert first(1, "a") == first(1, "a")
    orders = [first(1, "a"), first(2, "a"), first(1, "b"), first(1, "a", epoch=1), list(range(500))]
    for index, one in enumerate(orders):
        for other in orders[:index]:
            assert sum(a == b for a, b in zip(one, other, strict=True)) < 10  # 1 is expected by chance


def test_any_row_may_come_first() -> None:
    counts = [0] * 5
    for seed in range(2000):
        counts[Order(5, seed, "data")[0]] += 1
    assert min(counts) > 330
    assert max(counts) < 470


def test_a_far_sample_needs_no_list() -> None:
    order = Order(10**12, 0, "data")
    began = time.perf_counter()
    assert len({order[10**15 + i] for i in range(2000)}) == 2000
    assert time.perf_counter() - began < 1


def test_refuses_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match="at least 1 row"):
        Order(0, 0, "")
    with pytest.raises(IndexError):
        Order(3, 0, "")[-1]
