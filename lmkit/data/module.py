"""What data modules have in common: an endless stream to train on, which goes on where a run was, and rows to validate
on, each once.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from lightning import LightningDataModule
from tokenizers import Tokenizer
from torch.utils.data import DataLoader

from lmkit.data.order import Order
from lmkit.data.packing import Batch
from lmkit.data.stream import IndexedRows, Share, TrainLoader, TrainStream, ValidationStream, loader_settings
from lmkit.errors import UserError


class StreamedData(LightningDataModule, ABC):
    """Rows in an order that is a function of the seed and the data alone: a run may be resumed on another number of
    ranks or workers and sees the same batches. Test and predict read the validation rows.

    A subclass opens its rows in `setup`, by `_open`.

    Attributes:
        gives: what its batches are.
    """

    gives: ClassVar[type] = Batch

    tokenizer: Tokenizer  # from here on: known after `setup`
    end_of_document: int  # its token id
    vocab_size_used: int  # the tokenizer's largest id and one more: what a model must know
    bytes_per_token: float  # of the validation targets in UTF-8, over their number: for bits per byte

    def __init__(self, context: int, batch_size: int, seed: int, workers: int) -> None:
        """Keeps the settings.

        Args:
            context: Tokens a row.
            batch_size: Rows an optimizer step, over all ranks and accumulated micro-batches.
            seed: Chooses the order of the training rows.
            workers: Processes that read batches on each rank; 0 reads in the main one. Never changes the batches.
        """
        super().__init__()
        if workers < 0:
            raise UserError(f"workers is {workers}; give a number of processes, 0 or more")
        self.context, self.batch_size, self.seed, self.workers = context, batch_size, seed, workers
        self._resumed: dict[str, Any] | None = None
        self._opened: tuple[IndexedRows, IndexedRows] | None = None
        self.fingerprint = ""

    @abstractmethod
    def prepare_data(self) -> None:
        """Makes what is read, unless it is there."""

    @abstractmethod
    def setup(self, stage: str) -> None:
        """Opens what `prepare_data` made."""

    @abstractmethod
    def validation_text(self) -> Iterator[bytes]:
        """Yields what the bits per byte of validation are of, in UTF-8, one document at a time."""

    def _open(self, train: IndexedRows, validation: IndexedRows, fingerprint: str) -> None:
        """Takes the rows.

        Args:
            train: to train on.
            validation: to validate on.
            fingerprint: of the training rows.

        Raises:
            UserError: a checkpoint that was loaded before is of other data.
        """
        self._opened, self.fingerprint = (train, validation), fingerprint
        self._check_resumed()

    def train_dataloader(self) -> TrainLoader:
        """Endless micro-batches of this rank, from the sample that the run has reached."""
        train, _ = self._rows()
        stream = TrainStream(train, self._order(), self.batch_size, self._share())
        return TrainLoader(stream, self._samples, self.workers)

    def rows_to_train(self, steps: int) -> Sequence[int]:
        """The training rows that are still to be seen by a run of so many optimizer steps (-1 for one without end)."""
        order, first, last = self._order(), self._samples(), self._samples() + (steps - self._step()) * self.batch_size
        if steps < 0 or last - first >= order.rows:
            return range(order.rows)
        return sorted({order[sample] for sample in range(first, last)})

    def val_dataloader(self) -> DataLoader[Any]:
        """Every validation row once, over all ranks."""
        _, validation = self._rows()
        share = self._share()
        # No error where a step cannot be shared out evenly: to validate, no step is taken.
        micro_batch_size = max(1, self.batch_size // (share.micro_batches * share.ranks))
        stream = ValidationStream(validation, micro_batch_size, share)
        # Lightning warns of workers that repeat one another's data; these share it out.
        warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__` defined")
        return DataLoader(stream, **loader_settings(self.workers))

    def test_dataloader(self) -> DataLoader[Any]:
        """The validation rows."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        """The validation rows."""
        return self.val_dataloader()

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
        self._rows()
        return {
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "context": self.context,
            "tokenizer": self.tokenizer.to_str(),
        }

    def _check_resumed(self) -> None:
        """Compares the checkpoint with the data, as soon as both are known."""
        if self._resumed is None or self._opened is None:
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

    def _order(self) -> Order:
        return Order(len(self._rows()[0]), self.seed, self.fingerprint)

    def _share(self) -> Share:
        if self.trainer is None:
            return Share()
        # Not the world size: ranks that hold parts of one model (tensor parallel) read the same batches.
        ranks = self.trainer.distributed_sampler_kwargs or {"num_replicas": 1, "rank": 0}
        return Share(self.trainer.accumulate_grad_batches, ranks["num_replicas"], ranks["rank"])

    def _rows(self) -> tuple[IndexedRows, IndexedRows]:
        if self._opened is None:
            raise UserError("the data is not open; call prepare_data() and setup() first")
        return self._opened
