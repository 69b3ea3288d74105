"""The configuration of an exported network: its recipe, and its sizes under the names that transformers knows."""

from collections.abc import Sequence
from typing import Any

from transformers import PretrainedConfig  # its older name, which all versions know


class LmkitConfig(PretrainedConfig):
    """What `config.json` holds.

    Args:
        recipe: the network as class paths and their options, from which it is built.
        vocab_size: number of token ids V.
        max_position_embeddings: the longest row of tokens that the network is made for.
        hidden_size: width D of the residual stream.
        num_hidden_layers: number of blocks.
        num_attention_heads: number of heads that attentions were given.
        tie_word_embeddings: whether the head is the embedding's matrix.
        use_cache: whether the past of a row is kept, unless a call says otherwise.
        packages: what the code needs beside torch and transformers.
        lmkit_version: of the lmkit that wrote the folder.
        kwargs: what all configurations have.
    """

    model_type = "lmkit"
    keys_to_ignore_at_inference = ["past_key_values", "cache"]  # noqa: RUF012 (as transformers declares it)

    def __init__(  # noqa: PLR0913, PLR0917 (a key of the file each)
        self,
        recipe: dict[str, Any] | None = None,
        vocab_size: int = 0,
        max_position_embeddings: int = 0,
        hidden_size: int = 0,
        num_hidden_layers: int = 0,
        num_attention_heads: int = 0,
        tie_word_embeddings: bool = True,
        use_cache: bool = True,
        packages: Sequence[str] = (),
        lmkit_version: str = "",
        **kwargs: Any,
    ) -> None:
        self.recipe = recipe
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.use_cache = use_cache
        self.packages = list(packages)
        self.lmkit_version = lmkit_version
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
        self.tie_word_embeddings = tie_word_embeddings
