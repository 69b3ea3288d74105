"""SmolLM 3: a Llama every fourth of whose layers knows no positions."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.llama import (
    BIASES,
    EMBEDDINGS,
    FEED_FORWARD,
    GATED,
    HEADS,
    NO_OUT_BIAS,
    NORMS,
    RMS_NORM,
    SIDE_BY_SIDE,
    SIZES,
    TIED,
)
from lmkit.hf.gguf.rope import Rope
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.entry import Entry
from lmkit.hf.tables.layer_keys import without_position
from lmkit.hf.tables.values import Config


class NotEveryFourth(Entry):
    """Which layers rotate: all but every fourth; after `Rope` in a table."""

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        for number, layer in enumerate(anatomy.layers):
            if (number + 1) % 4 == 0:
                anatomy.layers[number] = without_position(layer) | {"position": "NoPosition"}

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """Nothing: it is so."""


SMOLLM3 = Architecture(
    name="smollm3",
    keys=(*SIZES, *HEADS, BIASES, NO_OUT_BIAS, *RMS_NORM, *GATED, TIED, Rope(), NotEveryFourth()),
    weights=(*EMBEDDINGS, *SIDE_BY_SIDE, *FEED_FORWARD, *NORMS),
)
