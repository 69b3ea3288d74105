"""GPT-NeoX and Pythia, whose queries, keys and values lie one after another."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.gpt2 import BIASED, MLP, ONE_MATRIX, UP_AND_DOWN
from lmkit.hf.gguf.architectures.llama import EMBEDDINGS, EQUAL_HEADS, HEADS, LAYER_NORM, NORMS, OUT, SIZES, TIED
from lmkit.hf.gguf.rope import Rope
from lmkit.hf.tables.keys import Cases

GPT_NEOX = Architecture(
    name="gptneox",
    keys=(
        *SIZES,
        *HEADS,
        EQUAL_HEADS,
        *BIASED,
        *MLP,
        *LAYER_NORM,
        Cases("use_parallel_residual", {True: {"block": "ParallelTwoNorms"}, False: {"block": "PreNorm"}}),
        Rope(partial=True),
        TIED,
    ),
    weights=(*EMBEDDINGS, ONE_MATRIX, OUT, *UP_AND_DOWN, *NORMS),
    copied="output.weight",
)
