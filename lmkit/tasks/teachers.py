"""The teacher of a distillation: a frozen network of its own, asked anew in each step, or once for each row."""

import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lmkit.data.packing import IGNORE, Batch
from lmkit.data.prepare import cache_root
from lmkit.data.tokenizer import first_unlike
from lmkit.errors import UserError
from lmkit.hf.start import places_of, start_from
from lmkit.hf.start_kind import Start
from lmkit.losses import top_k
from lmkit.network import Decoder
from lmkit.registry import build, load_plugins
from lmkit.tasks.beside import Base, base_at, began_with
from lmkit.tasks.described import described
from lmkit.tasks.kept_top_k import FORMAT, KeptTopK


def found_teacher(named: str, kept: Mapping[str, str] | None, run: Path) -> Base:
    """The teacher of a run, which goes on with the very one that it began with, whatever has taken its name since.

    Args:
        named: where it is, as the recipe says.
        kept: what the checkpoint tells that the run goes on from; none where it begins.
        run: the folder of that.

    Raises:
        UserError: it is gone, or has changed.
    """
    if not kept:
        return base_at(start_from(named))
    what = f"the run learns from the teacher that was in {kept['path']}"
    if named != kept["named"]:
        return began_with(kept, [start_from(named).path], what)
    return began_with(kept, [*places_of(kept, run), Path(named)], what)


def check_teaches(start: Start) -> None:
    """Looks whether a network was taught to write text.

    Raises:
        UserError: it scores text.
    """
    if start.head is not None:
        raise UserError(
            f"{start.path} was trained by {start.head.task}, whose head gives scores and writes no text, so that it "
            "cannot teach: give a run of another task, such as SFT"
        )


class Teacher:
    """Tells of each token that is predicted what a network says of it.

    Args:
        path: of the network: a run, a checkpoint or a Hugging Face folder.
        k: how many of its likeliest tokens are told and kept in the cache; none for its hidden states, kept nowhere.
        temperature: of what is told of its likeliest tokens.
        chunk: tokens whose logits exist at once.

    Attributes:
        known: what the checkpoint that a run goes on from tells of its teacher, as of `told`; none without.
        base: the teacher's weights, once the run has begun.
    """

    def __init__(self, path: str, k: int | None, temperature: float, chunk: int) -> None:
        self.path, self._k, self._temperature, self._chunk = path, k, temperature, chunk
        self.known: Mapping[str, str] | None = None
        self.base: Base | None = None
        self._network: Decoder | None = None
        self._kept: KeptTopK | None = None

    def begin(self, task: Any, tokenizer: Tokenizer, used: int) -> None:
        """Gets ready.

        Args:
            task: with its trainer.
            tokenizer: of the data.
            used: token ids of that.

        Raises:
            UserError: nothing is there, or not what the run has learned from so far, or its tokens are others, or
                fewer than are to be told.
        """
        self.base = found_teacher(self.path, self.known, Path(task.trainer.default_root_dir))
        self._start: Start = start_from(self.base.path)
        check_teaches(self._start)
        check_same_tokens(self.path, Tokenizer.from_str(self._start.tokenizer().tokenizer), tokenizer)
        if self._k is None:
            return
        if self._k > used:
            raise UserError(f"top_k is {self._k}, but there are {used} token ids: give fewer, such as 32")
        with torch.device("meta"):
            parts = [FORMAT, self.base.fingerprint, self._start.recipe, described(_built(self._start)), used]
        parts += [self._k, self._temperature, str(task.trainer.precision)]
        name = blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
        self._kept = KeptTopK(cache_root() / "teachers" / f"{name}.sqlite", self._k, used)

    def told(self, run: Path) -> dict[str, str]:
        """As a checkpoint keeps it, once the run has begun.

        Args:
            run: its folder.
        """
        return {**self.base.told(run), "named": self.path} if self.base else {}

    def network(self, task: Any) -> Decoder:
        """The network, on the device and in the precision of the run, read when it is first needed.

        Raises:
            UserError: it reads shorter rows than the data has.
        """
        if self._network is None:
            network, time = _built(self._start), task.trainer.datamodule.context
            if time > network.context:
                raise UserError(
                    f"rows are {time} tokens long, but the teacher {self.path} has context {network.context}: set "
                    "data.context lower"
                )
            self._start.load_into(network)
            network = task.trainer.precision_plugin.convert_module(network)
            self._network = network.to(task.device).eval().requires_grad_(False)
        return self._network

    @torch.no_grad()
    def said(self, task: Any, batch: Batch) -> tuple[Tensor, ...]:
        """What is said of each token that has a target: hidden states (N, D), or the log-probabilities of the likeliest
        tokens (N, k) and their ids (N, k).
        """
        if self._kept is None:
            return (self.network(task)(batch.inputs, batch.documents)[batch.targets != IGNORE],)
        return self._kept.of(batch, lambda rows: self._likeliest(task, rows))

    def _likeliest(self, task: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        network, used, k = self.network(task), self._kept.used, self._k or 0  # type: ignore[union-attr]
        states = network(batch.inputs, batch.documents)[batch.targets != IGNORE]
        told = [top_k(network.logits(some)[:, :used], k, self._temperature) for some in states.split(self._chunk)]
        values, ids = (torch.cat(part) for part in zip(*told, strict=True))
        return values, ids


def _built(start: Start) -> Decoder:
    """The network of a start, to be filled yet."""
    load_plugins(start.plugins)
    with torch.random.fork_rng():  # what it draws before it is filled is none of the run's
        network: Decoder = build(Callable[[], Decoder], start.recipe)()
    return network


def check_same_tokens(path: str, teachers: Tokenizer, own: Tokenizer) -> None:
    """Looks whether a teacher knows every token of the data by the same id.

    Args:
        path: of the teacher.
        teachers: its tokenizer.
        own: that of the data.

    Raises:
        UserError: it does not.
    """
    if found := first_unlike(teachers, own):
        token, there, here = found
        raise UserError(
            f"the teacher {path} has other tokens than the data: {token!r} is {there} there and {here} here: leave out "
            "data.tokenizer to take the teacher's, or choose another teacher"
        )
