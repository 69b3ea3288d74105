"""The encoder: a transformer whose tokens see those before and after them."""

from torch import Tensor

from lmkit.network.transformer import Transformer, positions_within


class Encoder(Transformer):
    """A bidirectional transformer (BERT, Devlin et al. 2018, arXiv:1810.04805)."""

    causal = False

    def forward(self, tokens: Tensor, documents: Tensor | None = None) -> Tensor:
        """Token ids (B, T) to hidden states (B, T, D).

        Args:
            tokens: ids in [0, V).
            documents: the document of each token (B, T), never falling along a row; attention does not cross them and
                positions start anew in each. None if the row is one text.
        """
        return self.read(tokens, positions_within(tokens, documents), documents=documents)
