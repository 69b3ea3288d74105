"""Padding: a document of its own for the network, which keeps documents apart and begins the positions of each anew."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.network.transformer import positions_within


def documents_of(tokens: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor | None:
    """The document of each token (B, T), never falling along a row; none if each row is one.

    Args:
        tokens: ids (B, T).
        mask: 1 for tokens, 0 for padding to their left or right (B, T); none for no padding.
        positions: of the tokens (B or 1, T): a text starts wherever they are 0, so that rows may be packed; none for
            one text a row.

    Raises:
        ValueError: padding lies between tokens, or the positions of a text do not count up from 0.
    """
    if mask is None and positions is None:
        return None
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask_of(mask, tokens)
    opens = F.pad(real[:, 1:] != real[:, :-1], (1, 0))
    if int((F.pad(real, (1, 0))[:, :-1] < real).sum(1).max()) > 1:
        raise ValueError(
            "attention_mask has padding between the tokens of a row, where this model has none: pad rows on the left "
            "or on the right"
        )
    if positions is not None:
        opens = opens | ((positions == 0) & real)
    opens[:, 0] = False
    documents = opens.cumsum(1) if opens.any() else None
    if positions is not None and ((positions != positions_within(tokens, documents)) & real).any():
        raise ValueError("position_ids do not count up from 0 in each text, which this model's positions always do")
    return documents


def left_padding(documents: Tensor | None, mask: Tensor | None, tokens: Tensor) -> list[int] | None:
    """How many columns of padding stand before the text of each row; none if something else than one text does."""
    if documents is None or mask is None:
        return [0] * tokens.size(0) if documents is None else None
    real = mask_of(mask, tokens)
    before = (~real).sum(1)
    only_before = bool(real[:, -1].all()) and bool((documents[:, -1] == (before > 0)).all())
    return before.tolist() if only_before else None


def mask_of(mask: Tensor, tokens: Tensor) -> Tensor:
    """The mask as booleans (B, T).

    Raises:
        ValueError: it is not of the tokens' shape.
    """
    if mask.shape != tokens.shape:
        raise ValueError(
            f"attention_mask is of the shape {tuple(mask.shape)}, but the tokens without a past of "
            f"{tuple(tokens.shape)}: give 1 for each token and 0 for padding; a past is kept of rows padded on the "
            "left only (padding_side='left')"
        )
    return mask.bool()


def check_context(tokens: Tensor, documents: Tensor | None, context: int) -> None:
    """Looks whether all texts fit the network.

    Raises:
        ValueError: one is longer than the context.
    """
    if tokens.size(1) <= context:
        return
    longest = int(positions_within(tokens, documents).max()) + 1
    if longest > context:
        raise ValueError(
            f"a row has {longest} tokens, but this model reads {context} (max_position_embeddings): shorten it"
        )
