"""The LightningDataModule for language modelling on raw text."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning import LightningDataModule
from tokenizers import Tokenizer
from torch.utils.data import DataLoader

from lmkit.data import tokenizer as tokenizing
from lmkit.data.corpus import Filter, Source
from lmkit.data.corpus.sources import STANDARD_LIBRARY, source_of
from lmkit.data.order import Order
from lmkit.data.packing import Batch, Rows
from lmkit.data.prepare import Preparation, prepare
from lmkit.data.store import TokenStore
from lmkit.data.stream import Share, TrainLoader, TrainStream, ValidationStream, loader_settings
from lmkit.errors import UserError

_READ_TOKENS = 1 << 20


class Text(LightningDataModule):
    """Raw text as endless training batches, and all of its validation documents once.

    The order of training is a function of the seed and the data alone: a run may be resumed on another number of ranks
    or workers and sees the same batches. Test and predict read the validation documents.
    """

    tokenizer: Tokenizer  # from here on: known after `setup`
    end_of_document: int  # its token id
    vocab_size_used: int  # the tokenizer's largest id and one more: what a model must know
    bytes_per_token: float  # of the validation text in UTF-8, over its target tokens: for bits per byte

    def __init__(  # noqa: PLR0913, PLR0917 (the signature is the configuration)
        self,
        source: Source | str | Path = STANDARD_LIBRARY,
        validation_source: Source | str | Path | None = None,
        validation_fraction: float = 0.05,
        documents: Literal["joined", "separate"] = "joined",
        tokenizer: str | None = None,
        vocab_size: int = 8192,
        context: int = 256,
        batch_size: int = 32,
        seed: int = 0,
        workers: int = 0,
        filters: list[Filter] | None = None,
    ) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            source: A file, folder or glob of .txt, .md, .py or .jsonl (also .gz, .zst), "stdlib", or any source.
            validation_source: The same, to validate on, unfiltered; none holds out documents of `source`.
            validation_fraction: Share of the documents of `source` held out where there is no `validation_source`.
            documents: "joined" lets a row's tokens attend across documents, "separate" numbers them to prevent it.
            tokenizer: Path of a tokenizer.json or its folder; none trains a byte-level BPE on the training documents.
            vocab_size: Most tokens of the tokenizer that is trained, at least 257; unused where one is given.
            context: Tokens a row.
            batch_size: Sequences an optimizer step, over all ranks and accumulated micro-batches.
            seed: Chooses the order of the training rows.
            workers: Processes that read batches on each rank; 0 reads in the main one. Never changes the batches.
            filters: What the documents of `source` go through, in this order, before they are held out.
        """
        super().__init__()
        if workers < 0:
            raise UserError(f"workers is {workers}; give a number of processes, 0 or more")
        self.source = source_of(source)
        validation = None if validation_source is None else source_of(validation_source)
        self._preparation = Preparation(
            self.source, validation, validation_fraction, tokenizer, vocab_size, tuple(filters or ())
        )
        self._separate = documents == "separate"
        self.context, self.batch_size, self.seed, self.workers = context, batch_size, seed, workers
        self._resumed: dict[str, Any] | None = None
        self._train: TokenStore | None = None

    def prepare_data(self) -> None:
        """Trains the tokenizer and writes the token stores into the cache, unless they are there."""
        prepare(self._preparation)

    def setup(self, stage: str) -> None:
        """Opens what `prepare_data` made.

        Raises:
            UserError: it is not there, or a checkpoint that was loaded before is of other data.
        """
        folder = self._preparation.folder()
        if not folder.is_dir():
            raise UserError(f"{folder} is missing; run prepare_data on this machine, and change no file until it ends")
        self._train, self._validation = TokenStore(folder / "train"), TokenStore(folder / "validation")
        self.tokenizer = tokenizing.load(Path(folder / "tokenizer.json"))
        self.end_of_document = self._train.end_of_document
        self.vocab_size_used = tokenizing.vocab_size_used(self.tokenizer)
        self.bytes_per_token = self._validation.bytes / (len(self._validation) - 1)
        self._check_resumed()

    def train_dataloader(self) -> TrainLoader:
        """Endless micro-batches of this rank, from the sample that the run has reached."""
        train = self._opened()
        rows = Rows(train, self.context, self._separate)
        order = Order(len(rows), self.seed, train.fingerprint)
        return TrainLoader(TrainStream(rows, order, self.batch_size, self._share()), self._samples, self.workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every row of the validation documents once, over all ranks."""
        self._opened()
        share = self._share()
        # No error where a step cannot be shared out evenly: to validate, no step is taken.
        micro_batch_size = max(1, self.batch_size // (share.micro_batches * share.ranks))
        stream = ValidationStream(Rows(self._validation, self.context, self._separate), micro_batch_size, share)
        # Lightning warns of workers that repeat one another's data; these share it out.
        warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__` defined")
        return DataLoader(stream, **loader_settings(self.workers))

    def test_dataloader(self) -> DataLoader[Batch]:
        """The validation documents."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The validation documents."""
        return self.val_dataloader()

    def validation_text(self) -> Iterator[bytes]:
        """Yields the text of each validation document in UTF-8, one at a time, as its tokens decode."""
        self._opened()
        waiting: list[int] = []
        for start in range(1, len(self._validation), _READ_TOKENS):
            tokens = self._validation.read(start, min(start + _READ_TOKENS, len(self._validation)))
            *whole, rest = np.split(tokens, np.flatnonzero(tokens == self.end_of_document) + 1)
            for document in whole:
                waiting += document[:-1].tolist()
                yield self.tokenizer.decode(waiting, skip_special_tokens=False).encode()
                waiting = []
            waiting += rest.tolist()

    def state_dict(self) -> dict[str, Any]:
        """Where the training stream is, and what a run must have in common to go on with it."""
        return {"samples": self._samples(), "step": self._step(), "batch_size": self.batch_size, **self._identity()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where the checkpoint's training stream was.

        Raises:
            UserError: the checkpoint is of other data, seed, context or tokenizer.
        """
        self._resumed = state_dict
        self._check_resumed()

    def _identity(self) -> dict[str, Any]:
        train = self._opened()
        tokenizer = self.tokenizer.to_str()
        return {
            "fingerprint": train.fingerprint,
            "seed": self.seed,
            "context": self.context,
            "tokenizer": tokenizer,
        }

    def _check_resumed(self) -> None:
        """Compares the checkpoint with the data, as soon as both are known."""
        if self._resumed is None or self._train is None:
            return
        here = self._identity()
        fitting = self.trainer is None or self.trainer.state.fn == "fit"
        # To validate or test, other text is welcome, but ids only mean something to the tokenizer that made them.
        wanted = ("fingerprint", "seed", "context", "tokenizer") if fitting else ("tokenizer",)
        other = [key for key in wanted if self._resumed[key] != here[key]]
        if not other:
            return
        if not fitting:
            raise UserError("the checkpoint was trained with another tokenizer; give its own with --data.tokenizer")
        told = ", ".join(f"{key} {self._resumed[key]} is now {here[key]}" for key in other if key != "tokenizer")
        raise UserError(
            f"the checkpoint was trained on other data ({told or 'another tokenizer'});"
            " resume with the same --data settings, or start anew without --ckpt_path"
        )

    def _samples(self) -> int:
        """The next sample to train on, of the whole run; the batch size may have changed when it was resumed."""
        start, step = (self._resumed["samples"], self._resumed["step"]) if self._resumed else (0, 0)
        return max(0, int(start) + (self._step() - int(step)) * self.batch_size)

    def _step(self) -> int:
        """Optimizer steps taken."""
        return self.trainer.global_step if self.trainer else int(self._resumed["step"]) if self._resumed else 0

    def _share(self) -> Share:
        if self.trainer is None:
            return Share()
        # Not the world size: ranks that hold parts of one model (tensor parallel) read the same batches.
        ranks = self.trainer.distributed_sampler_kwargs or {"num_replicas": 1, "rank": 0}
        return Share(self.trainer.accumulate_grad_batches, ranks["num_replicas"], ranks["rank"])

    def _opened(self) -> TokenStore:
        if self._train is None:
            raise UserError("the data is not open; call prepare_data() and setup() first")
        return self._train
