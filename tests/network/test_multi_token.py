"""Multi-token prediction: what each step sees and predicts, and what it adds to a training step."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lmkit.data.packing import IGNORE, Batch
from lmkit.errors import UserError
from lmkit.network import Decoder, MultiToken
from lmkit.network.further_heads import shifted
from lmkit.tasks import Pretraining

V, T, D = 30, 12, 16


def built(count=2):
    torch.manual_seed(0)
    network = Decoder(V, T, D, 2, 2)
    further = MultiToken(network, count, weight=0.5)
    for parameter in [*network.parameters(), *further.parameters()]:
        nn.init.normal_(parameter, std=0.3)
    return network.double(), further.double()


def rows(number=2):
    return torch.randint(V, (number, T + 1), generator=torch.Generator().manual_seed(1))


def test_a_step_is_its_equation():
    network, further = built(1)
    tokens, step = rows()[:, :-1], further.steps[0]
    hidden = network(tokens)
    (later,) = further(network, hidden, tokens, None)
    joined = torch.cat([step.hidden_norm(hidden[:, :-1]), step.token_norm(network.embedding(tokens[:, 1:]))], dim=-1)
    _, ats = network.embed(tokens[:, 1:], torch.arange(T - 1)[None])
    torch.testing.assert_close(later, step.norm(step.block(joined @ step.join.weight.T, ats[0])))


def test_no_step_sees_what_it_predicts():
    network, further = built(3)
    tokens = rows()[:, :-1]
    before = list(further(network, network(tokens), tokens, None))
    for k, hidden in enumerate(before, 1):
        assert hidden.shape == (2, T - k, D)
        for place in range(T - k):
            other = tokens.clone()
            other[:, place + k + 1 :] = (other[:, place + k + 1 :] + 1) % V
            after = list(further(network, network(other), other, None))[k - 1]
            torch.testing.assert_close(after[:, : place + 1], hidden[:, : place + 1], rtol=0, atol=1e-12)


def test_documents_stay_apart():
    network, further = built(2)
    tokens, lengths = rows(1)[:, :-1], [5, 7]
    documents = torch.repeat_interleave(torch.arange(2), torch.tensor(lengths))[None]
    packed = list(further(network, network(tokens, documents), tokens, documents))
    starts = [0, 5]
    for part, start in zip(tokens.split(lengths, dim=1), starts, strict=True):
        for k, alone in enumerate(further(network, network(part), part, None), 1):
            end = start + part.size(1) - k
            torch.testing.assert_close(packed[k - 1][:, start:end], alone, rtol=0, atol=1e-12)
    wanted = shifted(torch.arange(100, 100 + T)[None], documents, 2, IGNORE)
    assert wanted[0].tolist() == [102, 103, 104, IGNORE, IGNORE, 107, 108, 109, 110, 111]


@pytest.mark.parametrize("count", [1, 3])
def test_their_flops_are_counted(count):
    recipe = partial(Decoder, 512, 64, 64, 2, 4)
    plain, further = Pretraining(recipe), Pretraining(recipe, multi_token=partial(MultiToken, count=count))
    step = 2 * 64 * 64 + 12 * 64 * 64 + 512 * 64  # matrices: join, block, head
    more = further.flops_per_token(64) - plain.flops_per_token(64)
    assert more == pytest.approx(count * (6 * step + 12 * 64 * 64), rel=0.06)  # rows of a step are k tokens shorter


def test_the_task_adds_their_loss_in_training_only_however_the_batch_is_split():
    network, further = built(2)
    task = Pretraining(lambda: network, multi_token=lambda _: further)
    task.build()
    text = rows()
    targets = text[:, 1:].clone()
    targets[1, 7:] = IGNORE
    batch = Batch(text[:, :-1], targets, None)
    loss, count, beside = task.training_loss(batch)
    hidden = network(batch.inputs)
    expected = []
    for k, later in enumerate(further(network, hidden, batch.inputs, None), 1):
        logits = network.logits(later).flatten(0, 1)
        expected.append(F.cross_entropy(logits, targets[:, k:].flatten(), reduction="sum"))
    torch.testing.assert_close(beside, 0.5 * (expected[0] + expected[1]) / 2)
    parts = [task.training_loss(Batch(batch.inputs[i : i + 1], targets[i : i + 1], None)) for i in range(2)]
    torch.testing.assert_close(parts[0][2] + parts[1][2], beside)
    plain, number = task.loss(batch)
    torch.testing.assert_close(plain, loss)
    assert number == count == T + 7
    (loss + beside).backward()
    for name, parameter in task.named_parameters():
        assert parameter.grad is not None, name


def test_count_has_to_fit():
    with pytest.raises(UserError, match="count is 0"):
        MultiToken(SimpleNamespace(context=8), count=0)
    assert partial(MultiToken, count=2)(built()[0]).weight == 0.3
