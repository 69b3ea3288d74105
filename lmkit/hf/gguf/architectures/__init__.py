"""The architectures of llama.cpp that are known, in the order in which a network is compared with them."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.deepseek import DEEPSEEK
from lmkit.hf.gguf.architectures.gemma import GEMMA2, GEMMA3
from lmkit.hf.gguf.architectures.gpt2 import GPT2
from lmkit.hf.gguf.architectures.gpt_neox import GPT_NEOX
from lmkit.hf.gguf.architectures.gpt_oss import GPT_OSS
from lmkit.hf.gguf.architectures.llama import LLAMA, MIXTRAL
from lmkit.hf.gguf.architectures.olmo import OLMO2, OLMO3
from lmkit.hf.gguf.architectures.phi3 import PHI3
from lmkit.hf.gguf.architectures.qwen import QWEN2, QWEN3, QWEN3_MOE
from lmkit.hf.gguf.architectures.smollm3 import SMOLLM3
from lmkit.hf.gguf.architectures.stablelm import STABLELM

ARCHITECTURES: tuple[Architecture, ...] = (
    QWEN2,
    LLAMA,
    MIXTRAL,
    QWEN3,
    QWEN3_MOE,
    GPT2,
    GEMMA2,
    GEMMA3,
    OLMO2,
    OLMO3,
    SMOLLM3,
    PHI3,
    GPT_NEOX,
    STABLELM,
    DEEPSEEK,
    GPT_OSS,
)
