from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader

from lmkit.data.order import Order
from lmkit.data.packing import IGNORE, Rows
from lmkit.data.store import TokenStore
from lmkit.data.stream import Share, TrainLoader, TrainStream, ValidationStream, loader_settings
from lmkit.errors import UserError

BATCH = 8


@pytest.fixture
def rows(store: TokenStore) -> Rows:
    return Rows(store, 16, separate=False)


def steps(rows: Rows, ranks: int, micro_batches: int, workers: int = 0, start: int = 0) -> torch.Tensor:
    """The inputs of the first steps, put together over ranks and micro-batches, of shape (3, BATCH, T)."""
    order = Order(len(rows), 0, "data")
    read = []
    for rank in range(ranks):
        stream = TrainStream(rows, order, BATCH, Share(micro_batches, ranks, rank))
        loader = TrainLoader(stream, lambda: start, workers)
        inputs = [batch.inputs for batch in islice(loader, 3 * micro_batches)]
        assert {len(part) for part in inputs} == {BATCH // ranks // micro_batches}
        read.append(torch.stack(inputs).unflatten(0, (3, micro_batches)))
    return torch.stack(read, dim=2).flatten(1, 3)  # (3 steps, A, R, b, T)


def expected(rows: Rows, start: int = 0) -> torch.Tensor:
    order = Order(len(rows), 0, "data")
    samples = range(start, start + 3 * BATCH)
    return rows.batch(order[sample] for sample in samples).inputs.unflatten(0, (3, BATCH))


@pytest.mark.parametrize("micro_batches", [1, 2, 4])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_step_is_the_same_however_it_is_shared(rows: Rows, ranks: int, micro_batches: int) -> None:
    assert torch.equal(steps(rows, ranks, micro_batches), expected(rows))


def test_a_step_is_the_same_on_four_ranks(rows: Rows) -> None:
    assert torch.equal(steps(rows, 4, 2), expected(rows))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_step_is_the_same_for_any_workers(rows: Rows, workers: int) -> None:
    assert torch.equal(steps(rows, 1, 2, workers), expected(rows))


def test_starts_where_it_is_told(rows: Rows) -> None:
    for start in (0, BATCH, 3 * len(rows) + 5):
        assert torch.equal(steps(rows, 2, 2, start=start), expected(rows, start))


@pytest.mark.parametrize("workers", [0, 2])
def test_each_iteration_starts_where_the_run_is(rows: Rows, workers: int) -> None:
    reached = [0]
    order = Order(len(rows), 0, "data")
    loader = TrainLoader(TrainStream(rows, order, BATCH, Share()), lambda: reached[0], workers)
    for reached[0] in (0, 2 * BATCH, 5 * BATCH):
        read = torch.stack([batch.inputs for batch in islice(loader, 3)])
        assert torch.equal(read, expected(rows, reached[0]))


def test_never_draws_from_the_global_generator(rows: Rows) -> None:
    before = torch.get_rng_state()
    steps(rows, 1, 1, workers=1)
    next(iter(DataLoader(ValidationStream(rows, 2, Share()), **loader_settings(1))))
    assert torch.equal(torch.get_rng_state(), before)


def test_refuses_uneven_shares(rows: Rows) -> None:
    said = "batch_size 8 does not divide into 2 micro-batches on each of 3 ranks; give a multiple of 6, such as 12"
    with pytest.raises(UserError, match=said):
        TrainStream(rows, Order(len(rows), 0, ""), BATCH, Share(2, 3, 0))
    with pytest.raises(UserError, match="batch_size is 0"):
        Share().micro_batch_size(0)


@pytest.mark.parametrize(("ranks", "size", "workers"), [(1, 4, 0), (2, 3, 0), (2, 3, 2), (4, 16, 0), (3, 1000, 0)])
def test_validation_reads_every_token_once(store: TokenStore, ranks: int, size: int, workers: int) -> None:
    rows = Rows(store, 16, separate=False)
    streams = [ValidationStream(rows, size, Share(1, ranks, rank)) for rank in range(ranks)]
    loaders = [DataLoader(stream, **loader_settings(workers)) for stream in streams]
    read = [list(loader) for loader in loaders]
    assert {len(batches) for batches in read} == {len(loaders[0])}
    assert {batch.inputs.shape for batches in read for batch in batches} == {(size, 16)}
    whole = rows.batch(range(len(rows))).targets
    for rank, batches in enumerate(read):
        targets = torch.cat([batch.targets for batch in batches])
        mine = whole[rank::ranks]
        assert torch.equal(targets[: len(mine)], mine)
        assert (targets[len(mine) :] == IGNORE).all()
