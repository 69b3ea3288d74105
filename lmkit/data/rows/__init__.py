"""Rows of post-training data, such as conversations and labelled texts, before anything is made of them."""

from lmkit.data.rows.kinds import Row, RowSource

__all__ = ["Row", "RowSource"]
