"""The families that are known, in the order in which a network is compared with them."""

from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.entry import NotOfFamily
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
from lmkit.hf.tables.values import Config

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


def family_of(anatomy: Anatomy, former: Config | None = None) -> tuple[Family, Config] | None:
    """The family that a network's parts are of, and its config; none if there is no such family.

    Args:
        anatomy: of the network.
        former: the config that it was imported with, which is kept where it still describes the network.
    """
    if former and (family := FAMILIES.get(str(former.get("model_type")))):
        if family.read(former) == anatomy:
            return family, family.without_later(former)
        try:
            return family, family.write(anatomy)
        except NotOfFamily:
            pass
    for family in FAMILIES.values():
        try:
            return family, family.write(anatomy)
        except NotOfFamily:
            continue
    return None
