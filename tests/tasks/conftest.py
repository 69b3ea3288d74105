"""A small network to begin with, in a checkpoint, and options that make any recipe of post-training a toy."""

import json
import random

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

import lmkit.callbacks.throughput
from lmkit.checkpoints import KEY, write
from lmkit.data import tokenizer as tokenizing
from lmkit.data.chat_templates.encoder import Encoded
from lmkit.network import Decoder
from tests.conftest import WORDS

SIZES = {"vocab_size": 320, "context": 64, "dim": 32, "depth": 2, "heads": 4}
QUICK = [
    "--trainer.max_steps=3",
    "--trainer.val_check_interval=3",
    "--trainer.precision=32-true",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=1",
    "--trainer.callbacks=[]",
    "--model.schedule.warmup=1",
    "--model.optimizer.lr=0.01",
    "--data.context=64",
    "--data.batch_size=4",
    "--data.validation_fraction=0.3",
]


def texts(count, seed=0):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(2, 7))) for _ in range(count)]


def write_start(path, seed=0, tokenizer: Tokenizer | None = None, **sizes):
    """A checkpoint of a network that has learned nothing."""
    torch.manual_seed(seed)
    network = {"class_path": "lmkit.network.Decoder", "init_args": SIZES | sizes}
    tokenizer = tokenizer or tokenizing.train(iter(texts(200)), 300)
    kept = {
        "recipe": {"plugins": [], "model": {"class_path": "Pretraining", "init_args": {"network": network}}},
        "tokenizer": tokenizer.to_str(),
        "end_of_document": tokenizing.end_of_document(tokenizer),
    }
    state = {f"network.{name}": value for name, value in Decoder(**SIZES | sizes).state_dict().items()}
    write({"state_dict": state, KEY: kept}, path, "")
    return path


def write_rows(path, *columns, count=40):
    """Rows of texts, in a file of JSON lines."""
    rows = zip(*(texts(count, seed) for seed in range(len(columns))), strict=True)
    path.write_text("\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows))
    return path


def drawn(pairs, vocabulary):
    """Pairs of answers, each tree what both share, and both."""
    draw = np.random.default_rng(1)
    trees = []
    for _ in range(pairs):
        shared, *answers = (draw.integers(1, vocabulary, n) for n in draw.integers(1, 12, 3))
        learned = [draw.random(len(answer)) < 0.8 for answer in answers]
        for mask in learned:
            mask[-1] = True
        pieces = [Encoded(*pair) for pair in zip(answers, learned, strict=True)]
        trees.append([Encoded(shared, np.zeros(len(shared), bool)), *pieces])
    return trees


@pytest.fixture(autouse=True)
def known_peak(monkeypatch):
    """Of the device, which takes a second to measure."""
    monkeypatch.setattr(lmkit.callbacks.throughput, "peak_flops", lambda *_: 1e12)


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """The options of a run that begins with it."""
    path = write_start(tmp_path_factory.mktemp("start") / "start.ckpt")
    return [f"--model.init_from={path}", *QUICK]
