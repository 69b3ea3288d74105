"""Losses of preferences, rewards and distillation equal those of TRL, with gradients, on the same batch and model.

The model is a table of logits by the last token, so that both sides compute everything from the same numbers. TRL's
losses stand in methods of its trainers, which are called on trainers that were given only what those methods read.
"""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from lmkit.losses import (
    CHOSEN,
    CPO,
    DPO,
    IPO,
    KTO,
    MISMATCHED,
    ORPO,
    REJECTED,
    Completions,
    RobustDPO,
    SimPO,
    between_logits,
    bradley_terry,
    bradley_terry_accuracy,
    chunked_log_probabilities,
    dpo,
    forward_kl,
    reverse_kl,
)

pytestmark = pytest.mark.slow  # TRL alone takes seconds to import

V = 13
IGNORED = -100


@pytest.fixture(scope="module", autouse=True)
def trl():
    """The trainers, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        from trl import DPOTrainer, KTOTrainer, RewardTrainer
        from trl.experimental.cpo import CPOTrainer
        from trl.experimental.gkd import GKDTrainer
        from trl.experimental.orpo import ORPOTrainer

    return SimpleNamespace(
        DPO=DPOTrainer, KTO=KTOTrainer, Reward=RewardTrainer, CPO=CPOTrainer, GKD=GKDTrainer, ORPO=ORPOTrainer
    )


@pytest.fixture
def tables():
    """Logits by the last token, of the model that learns and of the reference."""
    draw = torch.Generator().manual_seed(0)
    own, reference = torch.randn(2, V, V, generator=draw, dtype=torch.float64)
    return own.requires_grad_(), reference


def texts(count, prompt=3):
    """Prompts with a completion each, of several lengths."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.randint(2, 9, (count,), generator=draw).tolist()
    return [(prompt, torch.randint(1, V, (prompt + length,), generator=draw)) for length in lengths]


def log_probabilities(table, some):
    """By lmkit, summed over each completion (C,)."""
    rows = []
    for prompt, tokens in some:
        hidden, targets = table[tokens[prompt - 1 : -1]], tokens[prompt:]
        rows.append(chunked_log_probabilities(lambda logits: logits, [], hidden, targets, 4).sum())
    return torch.stack(rows)


def completions(tables, some, roles):
    own, reference = tables
    tokens = torch.tensor([len(text) - prompt for prompt, text in some])
    return Completions(log_probabilities(own, some), tokens, log_probabilities(reference, some), torch.as_tensor(roles))


def padded(some):
    """As TRL's collators make them: ids, attention mask, completion mask."""
    ids = pad_sequence([text for _, text in some], batch_first=True)
    places = torch.arange(ids.size(1))
    attention = torch.stack([places < len(text) for _, text in some]).long()
    completion = torch.stack([(places >= prompt) & (places < len(text)) for prompt, text in some]).long()
    return ids, attention, completion


def model_of(table):
    """What TRL's trainers ask of a model: logits, or with its fused head what it makes of them itself."""

    def model(input_ids=None, labels=None, fused_lm_head=False, **_):
        logits = table[input_ids]
        if not fused_lm_head:
            return SimpleNamespace(logits=logits)
        targets = labels[:, 1:]
        each = logits[:, :-1].log_softmax(-1).gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        zeros = torch.zeros_like(each)
        return SimpleNamespace(
            log_probs=each * (targets != IGNORED), entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
        )

    return model


def stand_in(cls, **attributes):
    """A trainer that was never set up."""
    trainer = object.__new__(cls)
    same = {name: lambda tensor: tensor for name in ("gather", "gather_for_metrics")}
    trainer.accelerator = SimpleNamespace(device=torch.device("cpu"), **same)
    trainer.model, trainer._metrics = SimpleNamespace(training=True), {"train": defaultdict(list)}
    trainer._total_train_tokens, trainer._tp_size, trainer.aux_loss_enabled = 0, 1, False
    for name, value in attributes.items():
        setattr(trainer, name, value)
    return trainer


def equal(ours, theirs, table):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, check_dtype=False)
    grads = [torch.autograd.grad(loss, table)[0] for loss in (ours, theirs)]
    assert grads[0].abs().max() > 1e-4
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (DPO(0.3), {"loss_types": ["sigmoid"]}),
        (IPO(0.3), {"loss_types": ["ipo"]}),
        (RobustDPO(0.3, 0.2), {"loss_types": ["robust"], "label_smoothing": 0.2}),
    ],
    ids=lambda x: type(x).__name__,
)
def test_losses_beside_a_reference(trl, tables, loss, options):
    some = texts(8)
    batch = completions(tables, some, [CHOSEN] * 4 + [REJECTED] * 4)
    ids, attention, completion = padded(some)
    trainer = stand_in(
        trl.DPO,
        **{"beta": 0.3, "label_smoothing": 0.0, "loss_weights": [1.0], "f_divergence_type": "reverse_kl"} | options,
        ld_alpha=None,
        precompute_ref_logps=True,
        use_weighting=False,
    )
    inputs = {"input_ids": ids, "attention_mask": attention, "completion_mask": completion}
    inputs |= dict(zip(("ref_chosen_logps", "ref_rejected_logps"), batch.reference.chunk(2), strict=True))
    theirs = trainer._compute_loss(model_of(tables[0]), inputs, False)
    equal(loss(batch).mean(), theirs, tables[0])
    told = trainer._metrics["train"]
    chosen, rejected = loss.rewards(batch).chunk(2)
    assert told["rewards/chosen"] == [pytest.approx(chosen.mean().item(), abs=1e-5)]
    assert told["rewards/rejected"] == [pytest.approx(rejected.mean().item(), abs=1e-5)]


@pytest.mark.parametrize("shift", [0.0, 20.0, -20.0])
def test_kto(trl, tables, shift):
    some = texts(9)
    labels = torch.tensor([True, False, False, True, True, False])
    roles = torch.cat([torch.where(labels, CHOSEN, REJECTED), torch.tensor([MISMATCHED] * 3)])
    batch = completions(tables, some, roles)
    batch = batch._replace(reference=batch.reference - shift)
    trainer = stand_in(
        trl.KTO,
        beta=0.3,
        desirable_weight=1.5,
        undesirable_weight=0.7,
        loss_type="kto",
        calculate_KL=True,
        precompute_ref_logps=True,
    )
    names = "input_ids", "attention_mask", "completion_mask"
    inputs = dict(zip(names, padded(some[:6]), strict=True))
    inputs |= {f"KL_{name}": part for name, part in zip(names, padded(some[6:]), strict=True)}
    inputs |= {"label": labels, "ref_logps": batch.reference[:6], "ref_KL_logps": batch.reference[6:]}
    theirs = trainer._compute_loss(model_of(tables[0]), inputs, False)
    loss = KTO(0.3, 1.5, 0.7)
    equal(loss(batch).mean(), theirs, tables[0])
    rewards = loss.rewards(batch)[:6]
    assert trainer._metrics["train"]["rewards/chosen"] == [pytest.approx(rewards[labels].mean().item(), abs=1e-5)]


def pairs(chosen, rejected):
    """Pairs as the trainers without a reference take them."""
    batch = {}
    for name, some in (("chosen", chosen), ("rejected", rejected)):
        ids, attention, completion = padded(some)
        labels = ids.masked_fill(completion == 0, IGNORED)
        batch |= {f"{name}_input_ids": ids, f"{name}_attention_mask": attention, f"{name}_labels": labels}
    return batch


CPO_OPTIONS = {"beta": 0.3, "alpha": 0.0, "label_smoothing": 0.0, "cpo_alpha": 1.0, "loss_type": "sigmoid"}
CPO_OPTIONS |= {"is_encoder_decoder": False, "pad_token_id": 0, "padding_value": 0}


@pytest.mark.parametrize(
    ("loss", "trainer", "options"),
    [
        (SimPO(2.5, 1.1), "CPO", {"beta": 2.5, "simpo_gamma": 1.1, "cpo_alpha": 0, "loss_type": "simpo"}),
        (CPO(0.3), "CPO", {}),
        (CPO(0.3, 0.2), "CPO", {"label_smoothing": 0.2}),
        (ORPO(0.3), "ORPO", {}),
    ],
    ids=["SimPO", "CPO", "conservative CPO", "ORPO"],
)
def test_losses_without_a_reference(trl, tables, loss, trainer, options):
    """Pair by pair: TRL means the likelihood over the tokens of all pairs, lmkit over those of each, as ORPO's paper.

    TRL's ORPO counts the prompt's tokens too, of which a prompt of one token has none.
    """
    some = texts(8, prompt=1 if trainer == "ORPO" else 3)
    batch = completions(tables, some, [CHOSEN] * 4 + [REJECTED] * 4)
    stand = stand_in(getattr(trl, trainer), **CPO_OPTIONS | options)
    each = [pairs([chosen], [rejected]) for chosen, rejected in zip(some[:4], some[4:], strict=True)]
    results = [stand.get_batch_loss_metrics(model_of(tables[0]), one) for one in each]
    theirs, told = zip(*results, strict=True)
    ours = loss(batch)
    torch.testing.assert_close(ours, torch.stack(theirs), rtol=1e-5, atol=1e-5, check_dtype=False)
    equal(ours.mean(), torch.stack(theirs).mean(), tables[0])
    rewards = loss.rewards(batch).tolist()
    assert rewards[:4] == [pytest.approx(metrics["rewards/chosen"], abs=1e-5) for metrics in told]
    assert rewards[4:] == [pytest.approx(metrics["rewards/rejected"], abs=1e-5) for metrics in told]


@pytest.mark.parametrize("length", [5, None], ids=["equal lengths", "other lengths"])
@pytest.mark.parametrize("loss", [CPO(0.3), CPO(0.3, 0.2), ORPO(0.3)], ids=["CPO", "conservative CPO", "ORPO"])
def test_a_likelihood_beside_the_preference(trl, tables, loss, length):
    """Of several pairs at once: the loss is TRL's where all chosen completions are equally long, since the mean over
    their tokens is that of their means then; else that mean alone is another.
    """
    name = type(loss).__name__
    some = texts(8, prompt=1 if name == "ORPO" else 3)
    if length is not None:
        draw = torch.Generator().manual_seed(2)
        tokens = torch.randint(1, V, (4, some[0][0] + length), generator=draw)
        some[:4] = [(prompt, text) for (prompt, _), text in zip(some, tokens, strict=False)]
    batch = completions(tables, some, [CHOSEN] * 4 + [REJECTED] * 4)
    stand = stand_in(getattr(trl, name), **CPO_OPTIONS | {"label_smoothing": getattr(loss, "label_smoothing", 0.0)})
    theirs, _ = stand.get_batch_loss_metrics(model_of(tables[0]), pairs(some[:4], some[4:]))
    ours = loss(batch).mean()
    if length is None:
        assert not torch.allclose(ours.float(), theirs.float(), atol=1e-3)
        chosen, lengths = batch.log_probabilities[:4], batch.tokens[:4]
        ours = ours + (chosen / lengths).mean() - chosen.sum() / lengths.sum()
    equal(ours, theirs, tables[0])


def test_conservative_dpo_is_trls_smoothing_of_labels_on_log_ratios(trl):
    """TRL 1 has label smoothing in CPO only, whose preference term is that of DPO without the reference."""
    ratios = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    trainer = stand_in(trl.CPO, **CPO_OPTIONS | {"label_smoothing": 0.2})
    theirs, _, _ = trainer.cpo_loss(*ratios)
    torch.testing.assert_close(dpo(*ratios, 0.3, 0.2), theirs)


@pytest.mark.parametrize("with_margin", [False, True])
def test_bradley_terry(trl, with_margin):
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(10, 1, generator=draw, dtype=torch.float64).requires_grad_()
    margin = torch.rand(5, generator=draw, dtype=torch.float64) if with_margin else None
    trainer = stand_in(trl.Reward, args=SimpleNamespace(center_rewards_coefficient=None))
    inputs = {"attention_mask": torch.ones(10, 3)} | ({} if margin is None else {"margin": margin})

    def model(margin=None, **_):
        return SimpleNamespace(logits=scores)

    theirs = trainer.compute_loss(model, inputs)
    chosen, rejected = scores.squeeze(-1).chunk(2)
    equal(bradley_terry(chosen, rejected, margin).mean(), theirs, scores)
    accuracy = bradley_terry_accuracy(chosen, rejected).mean().item()
    assert trainer._metrics["train"]["accuracy"] == [pytest.approx(accuracy)]


@pytest.mark.parametrize(("divergence", "beta"), [(forward_kl, 0), (reverse_kl, 1)])
def test_distillation(trl, divergence, beta):
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 5, V, generator=draw, dtype=torch.float64)
    student.requires_grad_()
    theirs = trl.GKD.generalized_jsd_loss(student, teacher, beta=beta, temperature=2.0, reduction="sum")
    ours = between_logits(divergence, student.flatten(0, 1), teacher.flatten(0, 1), 2.0).sum()
    equal(ours, theirs, student)
