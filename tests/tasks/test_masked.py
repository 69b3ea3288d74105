"""The task of hidden tokens: what its loss is, and what it shows the network."""

from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from lmkit.data.packing import IGNORE, Batch
from lmkit.network import Encoder
from lmkit.tasks import MaskedLanguageModel
from lmkit.tasks.corruption import mask

V, T, D, KNOWN = 60, 32, 16, 40


def made(share=0.4):
    torch.manual_seed(0)
    task = MaskedLanguageModel(partial(Encoder, V, T, D, 1, 2), share=share).double().eval()
    task.build()
    task.network.double()
    return task


def batch():
    tokens = torch.randint(KNOWN, (3, T), generator=torch.Generator().manual_seed(0))
    targets = tokens.roll(-1, dims=1)
    targets[1, 20:] = IGNORE
    return Batch(tokens, targets, None)


def test_the_loss_is_that_of_the_hidden_tokens_alone():
    task, rows = made(), batch()
    damaged, wanted = mask(rows.inputs, rows.targets, V - 1, V - 1, task.share, 0)
    logits = task.network.logits(task.network(damaged))
    expected = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORE, reduction="sum")
    loss, count = task.loss(rows)
    torch.testing.assert_close(loss, expected)
    assert count == (wanted != IGNORE).sum()
    by_row = task.predict_step(rows)
    torch.testing.assert_close(by_row.sum(0), torch.stack([loss, count.double()]).float())
    grads = [torch.autograd.grad(one, task.network.embedding.weight)[0] for one in (loss, expected)]
    torch.testing.assert_close(*grads)


def test_the_head_is_given_few_shapes(monkeypatch):
    task, sizes = made(share=0.3), []
    logits = task.network.logits
    monkeypatch.setattr(task.network, "logits", lambda hidden: sizes.append(len(hidden)) or logits(hidden))
    for seed in range(5):
        tokens = torch.randint(KNOWN, (20, T), generator=torch.Generator().manual_seed(seed))
        task.loss(Batch(tokens, tokens, None))
    assert {size % 64 for size in sizes} == {0}
    assert max(sizes) < 20 * T


def test_a_batch_of_nothing_to_predict_has_no_loss():
    task, rows = made(), batch()
    loss, count = task.loss(rows._replace(targets=torch.full_like(rows.targets, IGNORE)))
    assert loss == count == 0


def test_other_tokens_are_drawn_from_those_that_the_tokenizer_has():
    task, seen = made(share=0.9), []
    task.network.register_forward_hook(lambda *call: seen.append(call[1][0]))
    task._trainer = SimpleNamespace(datamodule=SimpleNamespace(vocab_size_used=KNOWN))
    rows = torch.randint(KNOWN, (200, T), generator=torch.Generator().manual_seed(1))
    task.loss(Batch(rows, rows, None))
    shown = seen[0][seen[0] != V - 1]
    assert shown.max() == KNOWN - 1
