"""The decoder: a causal transformer, which can be read token by token thanks to its cache."""

from torch import Tensor

from lmkit.layers.kinds import Memory
from lmkit.network.branches import check_branches
from lmkit.network.cache import Cache
from lmkit.network.transformer import Transformer, positions_within


class Decoder(Transformer):
    """A causal transformer (GPT, Radford et al. 2018)."""

    causal = True

    def forward(
        self,
        tokens: Tensor,
        documents: Tensor | None = None,
        cache: Cache | None = None,
        memory: Memory | None = None,
        branches: Tensor | None = None,
    ) -> Tensor:
        """Token ids (B, T) to hidden states (B, T, D).

        Args:
            tokens: ids in [0, V).
            documents: the document of each token (B, T), never falling along a row; attention does not cross them and
                positions start anew in each. None if the row is one text.
            cache: the past of the same rows, which is extended; excludes `documents`.
            memory: what an encoder has read, for blocks that look there; with a cache of one text a row, and padding.
            branches: the branch of its document that each token belongs to (B, T), for several continuations of one
                start, which is computed once: in each document first branch 0, which all others share, then these, one
                after another. Each gives what it gives behind its start alone. With `documents` only.

        Raises:
            UserError: a layer does not follow the branches.
        """
        if branches is not None:
            check_branches(self, documents)
        if cache is None:
            positions = positions_within(tokens, documents, branches)
            return self.read(tokens, positions, documents=documents, memory=memory, branches=branches)
        if documents is not None:
            raise ValueError("a cache holds the past of one text a row: give documents or a cache, not both")
        positions = cache.advance(tokens.size(1), tokens.device)
        return self.read(tokens, positions, cache.layers, memory=memory)

    def cache(self, capacity: int | None = None) -> Cache:
        """An empty cache for `capacity` tokens; none for the context."""
        return Cache(len(self.blocks), capacity or self.context)
