"""The families that are known, in the order in which a network is compared with them."""

from lmkit.hf.families.gpt2 import GPT2
from lmkit.hf.families.llama import LLAMA
from lmkit.hf.family import Family

FAMILIES: dict[str, Family] = {family.name: family for family in (GPT2, LLAMA)}
