"""What `adapter_config.json` says of a LoRA: its options, and in as few words as will do which modules have it."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from lmkit.errors import UserError
from lmkit.hf.adapters.factors import MERGED, Factors
from lmkit.hf.adapters.names import shortest
from lmkit.transforms import LoRA


def config_of(
    lora: LoRA,
    modules: Mapping[str, Factors],
    others: Collection[str],
    confused: Collection[str] = (),
) -> dict[str, Any]:
    """The configuration.

    Args:
        lora: the adapter.
        modules: the factors of each adapted module of the exported base, by its name.
        others: the names of its other modules.
        confused: last parts of names that peft takes for those of a mixture's experts, wherever they stand; what is
            called so is told as a parameter, by `.weight` after its name.

    Raises:
        UserError: peft cannot adapt one of the modules in this way.
    """
    ranks = {_told(name, confused): factors.narrow.size(0) for name, factors in modules.items()}
    usual = Counter(ranks.values()).most_common(1)[0][0]
    unusual = {
        short: rank
        for rank in sorted({*ranks.values()} - {usual})
        for short in shortest([n for n in ranks if ranks[n] == rank], [n for n in ranks if ranks[n] != rank])
    }
    parameters = [name for name in ranks if name not in modules]
    _check_parameters(lora, parameters)
    return {
        "peft_type": "LORA",
        **lora.options(),
        "r": usual,
        "lora_alpha": _alpha(lora, usual),
        "rank_pattern": unusual,
        "alpha_pattern": {short: _alpha(lora, rank) for short, rank in unusual.items()},
        "target_modules": shortest([name for name in ranks if name in modules], others),
        **({"target_parameters": shortest(parameters, [f"{name}.weight" for name in others])} if parameters else {}),
        **({"lora_dropout": 0.0} if parameters else {}),  # which peft does not have for parameters
        "fan_in_fan_out": any(factors.turned for factors in modules.values()),
        "bias": "none",
    }


def _told(name: str, confused: Collection[str]) -> str:
    return f"{name}.weight" if name.rpartition(".")[2] in confused else name


def _check_parameters(lora: LoRA, parameters: list[str]) -> None:
    if parameters and lora.dora:
        raise UserError(
            f"peft has no {type(lora).__name__} for {parameters[0]}, whose name is also that of a mixture's experts: "
            f"{MERGED}"
        )


def _alpha(lora: LoRA, rank: int) -> float:
    """By which a product of this rank is multiplied as ours is."""
    alpha = lora.scale * (rank**0.5 if lora.rslora else rank)
    return int(alpha) if alpha == int(alpha) else alpha
