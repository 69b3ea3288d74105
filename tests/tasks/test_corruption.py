"""Damage to texts: it can be mended, has the measure it is said to have, and depends on the text and a number only."""

import pytest
import torch

from lmkit.data.packing import IGNORE
from lmkit.tasks.corruption import counts, cut_spans, draws, mask

V, TEXTS = 1000, 500


def rows(time=64, number=4):
    tokens = torch.randint(V, (number, time), generator=torch.Generator().manual_seed(0))
    targets = tokens.roll(-1, dims=1)
    return tokens, targets


def test_draws_are_uniform_and_of_row_place_and_number_only():
    tokens, _ = rows(256, 64)
    drawn = draws(tokens, 5)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    sorted_, even = drawn.flatten().sort().values, torch.linspace(0, 1, drawn.numel(), dtype=torch.float64)
    assert (sorted_ - even).abs().max() < 1.63 / drawn.numel() ** 0.5  # Kolmogorov and Smirnov's, at 1 %
    assert torch.equal(draws(tokens[3:5], 5), drawn[3:5])
    assert not torch.equal(draws(tokens, 6), drawn)
    other = tokens.clone()
    other[0, 7] += 1
    changed = draws(other, 5)
    assert torch.equal(changed[1:], drawn[1:])
    assert (changed[0] != drawn[0]).all()
    neighbours = torch.corrcoef(torch.stack([drawn[:, 1:].flatten(), drawn[:, :-1].flatten()]))[0, 1]
    assert abs(neighbours) < 0.03


def test_a_mask_hides_as_many_as_it_should_and_leaves_the_rest():
    tokens, targets = rows(512, 200)
    targets[:, 400:] = IGNORE
    damaged, wanted = mask(tokens, targets, V, V, 0.15, 1)
    chosen = wanted != IGNORE
    assert not chosen[:, 400:].any()
    assert chosen[:, :400].double().mean().item() == pytest.approx(0.15, abs=0.005)
    assert torch.equal(wanted[chosen], tokens[chosen])
    assert torch.equal(damaged[~chosen], tokens[~chosen])
    masked, same = (damaged[chosen] == V).double().mean().item(), (damaged == tokens)[chosen].double().mean().item()
    assert masked == pytest.approx(0.8, abs=0.015)
    assert same == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize(
    ("time", "share", "length"), [(64, 0.15, 3), (64, 0.5, 8), (8, 0.15, 3), (2, 0.15, 3), (30, 0.9, 1)]
)
@pytest.mark.parametrize("documents", [False, True])
def test_cut_spans_can_be_put_back(time, share, length, documents):
    tokens = torch.stack([torch.randperm(V, generator=torch.Generator().manual_seed(row))[:time] for row in range(4)])
    targets = tokens.roll(-1, dims=1)
    over = set(tokens[0, time // 2 :].tolist())  # its first row's text is over by then
    targets[0, time // 2 :] = IGNORE
    ids = torch.arange(time).expand(4, -1) // 5 if documents else None
    last = V + TEXTS
    made = cut_spans(tokens, targets, ids, last, share, length, 3)
    cut, spans = counts(time, share, length)
    assert made.read.shape == (4, time - cut + spans)
    assert made.write.shape == made.targets.shape == (4, cut + spans)
    for row in range(4):
        parts = {}
        for token in made.write[row].tolist():
            if token > V:
                parts[token] = []
                current = token
            else:
                parts[current].append(token)
        assert list(parts) == [last - i for i in range(spans)]
        whole = [t for token in made.read[row].tolist() for t in (parts[token] if token > V else [token])]
        assert whole == tokens[row].tolist()
        wanted = [*made.write[row, 1:].tolist(), last - spans]
        if row:
            assert made.targets[row].tolist() == wanted
            continue
        for slot, (target, want) in enumerate(zip(made.targets[0].tolist(), wanted, strict=True)):
            first = made.write[0, slot + 2] if want > V and slot + 2 < len(wanted) else want  # of a sentinel's span
            ended = slot + 1 == len(wanted) and made.write[0, slot].item() in over
            assert target == (IGNORE if ended or int(first) in over else want)
    if documents:
        for tokens_, ids_ in ((made.read, made.read_documents), (made.write, made.write_documents)):
            for row in range(4):
                where = {token: number // 5 for number, token in enumerate(tokens[row].tolist())}
                plain = [(t, d) for t, d in zip(tokens_[row].tolist(), ids_[row].tolist(), strict=True) if t < V]
                assert [where[t] for t, _ in plain] == [d for _, d in plain]
        assert (made.read_documents.diff(dim=1) >= 0).all()


def test_another_number_cuts_other_spans():
    tokens, targets = rows()
    one, same, other = (cut_spans(tokens, targets, None, V + TEXTS, 0.15, 3, number) for number in (0, 0, 1))
    assert torch.equal(one.read, same.read)
    assert not torch.equal(one.read, other.read)


def test_every_token_is_cut_about_equally_often():
    number, last = 2000, 10**6
    tokens = torch.arange(32).expand(number, -1) + 40 * torch.arange(number)[:, None]
    made = cut_spans(tokens, tokens, None, last, 0.25, 2, 0)
    kept = torch.zeros(32)
    for row, first in zip(made.read, tokens[:, 0], strict=True):
        kept[row[row < last - 10] - first] += 1
    share = 1 - kept[2:-2] / number  # a row begins with a kept part and ends with a cut one, as T5's do
    assert share.min() > 0.15
    assert share.max() < 0.35
