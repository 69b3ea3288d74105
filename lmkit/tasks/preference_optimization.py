"""Preference optimization: make the chosen one of two answers likelier than the rejected one."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from lmkit.data.examples.roles import CHOSEN, MISMATCHED, REJECTED
from lmkit.data.examples.trees import Trees
from lmkit.errors import UserError
from lmkit.hf.start import places_of
from lmkit.losses import DPO, Completions, PreferenceLoss, chunked_log_probabilities
from lmkit.network import Decoder, Network
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks.beside import Base, base_at, began_with
from lmkit.tasks.checks import check_chunk
from lmkit.tasks.fitting import check_preferences
from lmkit.tasks.references import Reference
from lmkit.tasks.stored_reference import Stored
from lmkit.tasks.task import Task
from lmkit.tasks.trees import read_trees, tell_completions
from lmkit.transforms import Transform

REFERENCE = "reference"
"""Where a checkpoint says which network the run compares with."""


class PreferenceOptimization(Task):
    """Learns which answers are preferred, by a loss of their log-probabilities (DPO, Rafailov et al. 2023,
    arXiv:2305.18290, and what came after it).

    Logs, beside the loss, the share of pairs of which the chosen answer has the higher reward (`accuracy`), by how much
    (`margin`), and of chosen and rejected answers the mean reward, log-probability in nats and number of tokens; with a
    reference, `kl`, the mean log-ratio to it a token.

    Args:
        network: recipe of the network.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order; none for nothing.
        chunk: tokens whose logits exist at once; less takes less memory.
        init_from: where the first weights come from: a Hugging Face folder, a run or a checkpoint; none draws them.
        preference_loss: such as `DPO`; `lmkit plugins list preference_loss` lists all.
        reference: where the reference's log-probabilities come from; none for `Stored`.
    """

    measures_bytes: ClassVar[bool] = False
    measures_tokens: ClassVar[bool] = False
    network: Decoder

    def __init__(  # noqa: PLR0913, PLR0917 (the signature is the configuration)
        self,
        network: Callable[[], Decoder],
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[int], Schedule] = WarmupCosine,
        compile: bool = False,
        transforms: list[Transform] | None = None,
        chunk: int = 2048,
        init_from: str | None = None,
        preference_loss: PreferenceLoss | None = None,
        reference: Reference | None = None,
    ) -> None:
        super().__init__(network, optimizer, schedule, compile, transforms, init_from)
        check_chunk(chunk)
        self.chunk, self.preference_loss = chunk, preference_loss or DPO()
        if reference is not None and not self.preference_loss.needs_reference:
            raise UserError(
                f"{type(self.preference_loss).__name__} compares with no reference, but model.reference is "
                f"{type(reference).__name__}: leave that out (--model.reference=null), or choose DPO, IPO or KTO"
            )
        self._reference = reference or Stored()
        self._begun: Base | None = None
        self._compared: dict[str, str] | None = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Says too which network the run compares with."""
        super().on_save_checkpoint(checkpoint)
        if self._begun is not None:
            checkpoint[REFERENCE] = self._begun.told(Path(self.trainer.default_root_dir))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps which network the run was compared with, to be found again before the first step."""
        super().on_load_checkpoint(checkpoint)
        self._compared = checkpoint.get(REFERENCE)

    def begin(self) -> None:
        """Looks whether loss and data fit each other, and has the reference be at hand."""
        self.check_suits(self._datamodule)
        if self.preference_loss.needs_reference:
            self._begun = self._found()
            self._reference.begin(self)

    def check_suits(self, data: Any) -> None:
        """See `Task`; loss and data have to fit each other too."""
        super().check_suits(data)
        check_preferences(self.preference_loss, data)

    def check_network(self, network: Network) -> None:
        """See `Task`; the reference may need something of it."""
        if self.preference_loss.needs_reference:
            self._reference.check(network, self.transforms)

    @property
    def reference_key(self) -> str | None:
        """What tells the reference's weights from others, once the run has begun; none for those that are drawn."""
        return self._begun and self._begun.fingerprint

    def made_of(self) -> dict[str, Any]:
        """See `Task`."""
        return {"preference_loss": self.preference_loss}

    def _found(self) -> Base | None:
        """The network to compare with: that of the checkpoint which is gone on from, or where the run starts."""
        if self._compared is not None:
            kept, run = self._compared, Path(self.trainer.default_root_dir)
            places = [*places_of(kept, run), *([Path(self.origin)] if self.origin else [])]
            what = f"the run compares with the network that was in {kept['path']}"
            found = began_with(kept, places, what)
            self.origin = str(found.path)
            return found
        return None if self.origin is None else base_at(self.start(self.origin))

    def loss(self, batch: Trees) -> tuple[Tensor, Tensor]:
        """The loss summed over the pairs, or judged completions, and their number."""
        sums, tokens = self.log_probabilities(self.network, batch)
        reference = self._reference.sums(self, batch) if self.preference_loss.needs_reference else None
        completions = self._with_divergence(Completions(sums, tokens, reference, batch.roles))
        losses = self.preference_loss(completions)
        self._note(completions)
        return losses.sum(), torch.tensor(len(losses), device=losses.device)

    def _with_divergence(self, completions: Completions) -> Completions:
        """Tells, and logs, how far the network is from the reference by completions of other prompts on all ranks."""
        if not self.preference_loss.needs_mismatched or completions.reference is None:
            return completions
        ratios = completions.log_ratios().detach()[completions.roles == MISMATCHED]
        total, count = self._add_up(torch.stack([ratios.sum(), ratios.new_tensor(len(ratios))]))
        self.note("divergence", ratios.sum(), ratios.new_tensor(len(ratios)))
        return completions._replace(divergence=total / count.clamp(min=1))

    def log_probabilities(self, network: Decoder, trees: Trees) -> tuple[Tensor, Tensor]:
        """The log-probability of each completion in nats (C), and its number of tokens (C)."""
        hidden, trees = read_trees(network, trees)
        scored = hidden[trees.places]  # (N, D)
        each = chunked_log_probabilities(network.logits, [network.head_weight], scored, trees.targets, self.chunk)
        count = len(trees.roles)
        sums = each.new_zeros(count + 1).index_add(0, trees.owners, each)
        return sums[:-1], torch.bincount(trees.owners, minlength=count + 1)[:-1]

    def predict_step(self, batch: Trees) -> Tensor:
        """For each completion its log-probability in nats and its number of tokens (C, 2)."""
        return torch.stack([part.float() for part in self.log_probabilities(self.network, batch)], dim=1)

    def predictions(self, outputs: Tensor, batch: Trees, number: int) -> Iterator[dict[str, Any]]:
        """Of each completion its row, role, log-probability in nats, number of tokens, prompt, and text."""
        sums, tokens = outputs.T.tolist()
        return tell_completions(batch, self.tokenizer, log_probability=sums, tokens=[*map(int, tokens)])

    def _note(self, completions: Completions) -> None:
        """Logs what is told beside the loss."""
        rewards = self.preference_loss.rewards(completions)
        sums, tokens = completions.log_probabilities.detach(), completions.tokens
        by_role = {}
        for name, role in (("chosen", CHOSEN), ("rejected", REJECTED)):
            mine = completions.roles == role
            by_role[name], count = rewards[mine], mine.sum()
            self.note(f"reward_{name}", rewards[mine].sum(), count)
            self.note(f"log_probability_{name}", sums[mine].sum(), count)
            self.note(f"tokens_{name}", tokens[mine].sum(), count)
        if completions.reference is not None:
            judged = completions.roles != MISMATCHED
            self.note("kl", (sums - completions.reference)[judged].sum(), tokens[judged].sum())
        if self.preference_loss.paired:
            margins = by_role["chosen"] - by_role["rejected"]
            self.note("margin", margins.sum(), torch.tensor(len(margins), device=margins.device))
            self.note("accuracy", (margins > 0).sum(), torch.tensor(len(margins), device=margins.device))
