"""The families that are known, in the order in which a network is compared with them."""

from lmkit.hf.tables.families.deepseek import DEEPSEEK_V3
from lmkit.hf.tables.families.gemma import GEMMA2, GEMMA3
from lmkit.hf.tables.families.gpt2 import GPT2
from lmkit.hf.tables.families.gpt_neox import GPT_NEOX
from lmkit.hf.tables.families.gpt_oss import GPT_OSS
from lmkit.hf.tables.families.llama import LLAMA
from lmkit.hf.tables.families.mistral import MISTRAL, MIXTRAL
from lmkit.hf.tables.families.olmo import OLMO2, OLMO3
from lmkit.hf.tables.families.phi3 import PHI3
from lmkit.hf.tables.families.qwen import QWEN2, QWEN3, QWEN3_MOE
from lmkit.hf.tables.families.smollm3 import SMOLLM3
from lmkit.hf.tables.families.stablelm import STABLELM
from lmkit.hf.tables.family import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        GPT2,
        LLAMA,
        MISTRAL,
        MIXTRAL,
        QWEN2,
        QWEN3,
        QWEN3_MOE,
        GEMMA2,
        GEMMA3,
        OLMO2,
        OLMO3,
        SMOLLM3,
        PHI3,
        GPT_NEOX,
        STABLELM,
        DEEPSEEK_V3,
        GPT_OSS,
    )
}
