"""What arms are measured on and in, and which of them may be compared."""

from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

from lmkit.ablation.grid import grid, parse_swap
from lmkit.cli.measured import check_alike, hash_text, measured
from lmkit.errors import UserError

ARMS = grid([parse_swap("x=1,2")])
TASK = SimpleNamespace(measures_bytes=True)
OTHER_WORDS = Tokenizer(BPE(vocab={"a": 0}, merges=[]))


def alike(one, other):
    """Looks at two arms, given what differs from a sound one; the text of a `text`, its hash otherwise."""
    found = []
    for options in (one, other):
        data = SimpleNamespace(
            bytes_per_token=options.get("bytes", 3.0),
            tokenizer=options.get("tokenizer", Tokenizer(BPE())),
            context=options.get("context", 32),
            batch_size=options.get("batch_size", 4),
        )
        trainer = {"limit_val_batches": options.get("limit"), "accumulate_grad_batches": options.get("parts", 1)}
        own = {"share": options.get("share", 0.15), "chunk": len(found) + 1}
        model = {"class_path": options.get("task", "Masked"), "init_args": own}
        recipe = {"trainer": trainer, "model": model}
        task = SimpleNamespace(measures_bytes=options.get("measures_bytes", True))
        found.append(measured(data, options.get("text", "t"), task, recipe))
    check_alike(ARMS, found)


@pytest.mark.parametrize(
    "options",
    [
        {"context": 16},
        {"tokenizer": OTHER_WORDS},
        {"batch_size": 8, "parts": 2},
        {"limit": 1.0},
        {"share": 0.3},
        {"task": "Pretraining"},
    ],
)
def test_bits_per_byte_of_one_text_are_compared_whatever_the_rows_and_tokens(options):
    alike({}, options)


@pytest.mark.parametrize(
    ("common", "options", "told"),
    [
        ({}, {"text": "u"}, "each has another validation text"),
        ({}, {"limit": 2}, "trainer.limit_val_batches is None and 2"),
        ({}, {"limit": 1}, "trainer.limit_val_batches is None and 1"),
        ({"limit": 0.5}, {"limit": 0.25}, "trainer.limit_val_batches is 0.5 and 0.25"),
        ({"limit": 2}, {"context": 16}, "data.context is 32 and 16"),
        ({"limit": 2}, {"batch_size": 8}, "data.batch_size is 4 and 8"),
        ({"limit": 2}, {"parts": 2}, "trainer.accumulate_grad_batches is 1 and 2"),
        ({"limit": 2}, {"tokenizer": OTHER_WORDS}, "each has another tokenizer"),
        ({}, {"measures_bytes": False}, "measure is bits per byte and nats a token"),
        ({}, {"bytes": None}, "measure is bits per byte and nats a token"),
        ({"bytes": None}, {"tokenizer": OTHER_WORDS}, "each has another tokenizer"),
        ({"bytes": None}, {"context": 16}, "data.context is 32 and 16"),
        ({"measures_bytes": False}, {"task": "Denoising"}, "model is Masked and Denoising"),
        ({"measures_bytes": False}, {"share": 0.3}, "model.share is 0.15 and 0.3"),
    ],
)
def test_other_measures_are_refused(common, options, told):
    alike(common, common)
    with pytest.raises(UserError) as error:
        alike(common, common | options)
    assert "the arms x=1 and x=2 are not measured alike" in str(error.value)
    assert told in str(error.value)


def test_the_hash_of_a_text_knows_its_documents():
    assert hash_text([b"ab", b"c"]) == hash_text(iter([b"ab", b"c"]))
    assert len({hash_text(texts) for texts in ([b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"c", b"ab"], [])}) == 5
