"""What tasks that learn from completions of prompts have in common: reading them, and telling of each."""

from collections.abc import Iterator, Sequence
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from lmkit.data.examples.roles import CHOSEN, MISMATCHED, REJECTED, UNJUDGED
from lmkit.data.examples.trees import Trees, apart
from lmkit.network import Decoder, follows_branches

NAMES = {CHOSEN: "chosen", REJECTED: "rejected", UNJUDGED: None}
"""Of the roles of a prompt's own completions."""


def read_trees(network: Decoder, trees: Trees) -> tuple[Tensor, Trees]:
    """Hidden states (T, D) of a row of trees, and the trees as that row has them: where a layer follows no branches,
    each completion is read behind a prompt of its own.
    """
    if follows_branches(network):
        return network(trees.inputs, trees.documents, branches=trees.branches)[0], trees
    trees = apart(trees)
    return network(trees.inputs, trees.documents)[0], trees


def tell_completions(trees: Trees, tokenizer: Tokenizer, **figures: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Of each completion its row, its role, its figures, its prompt, and its text; but of none to another prompt.

    Args:
        trees: the completions (C).
        tokenizer: decodes them.
        figures: by name, one for each completion.
    """
    for owner, role in enumerate(trees.roles.tolist()):
        if role == MISMATCHED:
            continue
        prompt = trees.inputs[(trees.documents == trees.prompts[owner]) & (trees.branches == 0)]
        yield {
            "row": int(trees.examples[owner]),
            "role": NAMES[role],
            **{name: values[owner] for name, values in figures.items()},
            "prompt": tokenizer.decode(prompt.tolist()).strip(),
            "text": tokenizer.decode(trees.targets[trees.owners == owner].tolist()).removeprefix(" "),
        }
