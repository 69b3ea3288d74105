"""Reward models: one number for each answer, the higher the better it is liked."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from lmkit.data.examples.roles import CHOSEN, REJECTED
from lmkit.data.examples.trees import Trees
from lmkit.layers.weights import Linear
from lmkit.losses import bradley_terry, bradley_terry_accuracy
from lmkit.network import Decoder
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks.fitting import check_pairs
from lmkit.tasks.heads import freeze_own, scores_of, take_head
from lmkit.tasks.task import Task
from lmkit.tasks.trees import read_trees, tell_completions
from lmkit.transforms import Transform


class RewardModel(Task):
    """Learns a reward of answers, by which of two is preferred (Bradley and Terry 1952; Ouyang et al. 2022,
    arXiv:2203.02155, section 3.5): a linear head reads it off the hidden state of an answer's last token.

    Logs, beside the loss, the share of pairs of which the chosen answer has the higher reward (`accuracy`), by how much
    (`margin`), and the mean reward of both. The head is kept in checkpoints beside the network.

    Args:
        network: recipe of the network.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order, but not to the head; none for nothing.
        init_from: where the first weights come from: a Hugging Face folder, a run or a checkpoint; none draws them.
    """

    measures_bytes: ClassVar[bool] = False
    measures_tokens: ClassVar[bool] = False
    writes_text: ClassVar[bool] = False
    learns_beside: ClassVar[bool] = True
    network: Decoder

    def __init__(
        self,
        network: Callable[[], Decoder],
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[int], Schedule] = WarmupCosine,
        compile: bool = False,
        transforms: list[Transform] | None = None,
        init_from: str | None = None,
    ) -> None:
        super().__init__(network, optimizer, schedule, compile, transforms, init_from)

    def build(self) -> None:
        """Builds the network, and the head, whose first rewards are about as large as 1 (Stiennon et al. 2020,
        arXiv:2009.01325, appendix B.1); one of a run of the same task is taken over with the network.
        """
        super().build()
        freeze_own(self.network)
        self.head = Linear(self.network.dim, 1, std=1 / math.sqrt(self.network.dim + 1))
        take_head(self)

    def check_suits(self, data: Any) -> None:
        """See `Task`; it has to have pairs."""
        super().check_suits(data)
        check_pairs(self, data)

    def begin(self) -> None:
        """Looks whether the data has pairs."""
        self.check_suits(self._datamodule)

    def loss(self, batch: Trees) -> tuple[Tensor, Tensor]:
        """The loss summed over the pairs, and their number."""
        rewards = self.rewards(batch)
        chosen, rejected = (rewards[batch.roles == role] for role in (CHOSEN, REJECTED))
        count = torch.tensor(len(chosen), device=rewards.device)
        self.note("accuracy", bradley_terry_accuracy(chosen, rejected).sum(), count)
        self.note("margin", (chosen - rejected).sum(), count)
        self.note("reward_chosen", chosen.sum(), count)
        self.note("reward_rejected", rejected.sum(), count)
        return bradley_terry(chosen, rejected).sum(), count

    def rewards(self, trees: Trees) -> Tensor:
        """The reward of each completion (C)."""
        hidden, trees = read_trees(self.network, trees)
        return scores_of(self.head, hidden[trees.ends]).squeeze(1)

    def states(self, network: Any, tokens: Tensor) -> list[Tensor]:
        """That of the last token, the only one that is read."""
        return [network(tokens)[:, -1:]]

    def predict_step(self, batch: Trees) -> Tensor:
        """The reward of each completion (C)."""
        return self.rewards(batch)

    def predictions(self, outputs: Tensor, batch: Trees, number: int) -> Iterator[dict[str, Any]]:
        """Of each completion its row, role, reward, prompt, and text."""
        return tell_completions(batch, self.tokenizer, reward=outputs.tolist())
