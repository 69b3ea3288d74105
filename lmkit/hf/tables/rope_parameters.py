"""One object of rope parameters, as transformers has them, and the position of ours that it describes."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from lmkit.errors import UserError
from lmkit.hf.shown import brief, plain, says
from lmkit.hf.tables.entry import NotOfFamily
from lmkit.hf.tables.rope_checks import WEIGHTS, check_numbers
from lmkit.hf.tables.values import Config

Parameters = dict[str, Any]

_FORMER = {"su": "longrope"}
"""What a `rope_type` was called before."""

NAMES: dict[str, tuple[str, dict[str, str]]] = {
    "default": ("Rotary", {}),
    "linear": ("RotaryInterpolated", {"factor": "factor"}),
    "llama3": (
        "RotaryLlama3",
        {
            "factor": "factor",
            "low_freq_factor": "low",
            "high_freq_factor": "high",
            "original_max_position_embeddings": "original_context",
        },
    ),
    "yarn": (
        "RotaryYaRN",
        {
            "factor": "factor",
            "original_max_position_embeddings": "original_context",
            "beta_fast": "fast",
            "beta_slow": "slow",
            "truncate": "truncate",
            "attention_factor": "attention_factor",
        },
    ),
    "longrope": (
        "RotaryLong",
        {
            "short_factor": "short",
            "long_factor": "long",
            "original_max_position_embeddings": "original_context",
            "attention_factor": "attention_factor",
        },
    ),
}
"""By `rope_type` our class, and its options by their keys."""

_USUAL = {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": True}
_ELSEWHERE = ("rope_type", "type", "rope_theta", "partial_rotary_factor", *WEIGHTS, "factor")


def position(
    given: Mapping[str, Any], head_dim: int, config: Config, kinds: Collection[str] = tuple(NAMES)
) -> dict[str, Any]:
    """The position that rope parameters of one of some kinds describe, by dotted names.

    Raises:
        UserError: it is of a kind, or has a key, that lmkit does not know.
    """
    kind = given.get("rope_type") or given.get("type") or "default"
    kind = _FORMER.get(kind, kind) if isinstance(kind, str) else kind
    if kind not in kinds:
        raise UserError(f"{says('rope_type', kind)}, which lmkit cannot represent, only {', '.join(kinds)}")
    name, keys = NAMES[kind]
    if unknown := [key for key in given if key not in (*keys, *_ELSEWHERE) and kind != "default"]:
        raise UserError(
            f"config.json says {plain(unknown[0])} in its rope parameters, which lmkit does not know for {brief(kind)}"
        )
    check_numbers(given)
    values = _closed(kind, given, config)
    found = {"position": name, "position.base": float(given["rope_theta"])}
    found["position.width"] = int(head_dim * (given.get("partial_rotary_factor") or 1.0))
    return found | {f"position.{ours}": values[theirs] for theirs, ours in keys.items()}


def parameters(layer: Mapping[str, Any], share: float | None, config: Config) -> Parameters:
    """The rope parameters of a layer's position, without what follows from others.

    Args:
        layer: its parts.
        share: the part of each head that is rotated where a config says none; none where all of it always is.
        config: what is known so far.

    Raises:
        NotOfFamily: it has another position, or rotates a part of each head where all of it is.
    """
    kind = next((kind for kind, (name, _) in NAMES.items() if name == layer["position"]), None)
    if kind is None:
        raise NotOfFamily(f"{layer['position']} is no rotary position of Hugging Face")
    found = {"rope_type": kind, "rope_theta": layer["position.base"]}
    part = layer["position.width"] / width_of(layer)
    if part != 1.0 and share is None:
        raise NotOfFamily(f"{part} of each head is rotated, not all of it")
    if share is not None and (part != 1.0 or share != 1.0):
        found["partial_rotary_factor"] = part
    found |= {theirs: layer[f"position.{ours}"] for theirs, ours in NAMES[kind][1].items()}
    if "attention_factor" in found:
        usual = _closed(kind, {**found, "attention_factor": None}, config)["attention_factor"]
        if abs(usual - found["attention_factor"]) < 1e-12:
            del found["attention_factor"]
    return found


def parameters_of_all(layers: list[dict[str, Any]], share: float | None, config: Config) -> Parameters:
    """The same of layers that have one position, those that have none aside.

    Raises:
        NotOfFamily: they have several.
    """
    found = [parameters(layer, share, config) for layer in layers if layer["position"] != "NoPosition"]
    if not found or any(other != found[0] for other in found):
        raise NotOfFamily("layers have several positions, or none")
    return found[0]


def mscale(factor: float, weight: float) -> float:
    """YaRN's 0.1 c ln(factor) + 1, by which DeepSeek weighs the scores."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def _closed(kind: str, given: Mapping[str, Any], config: Config) -> Parameters:
    """The values of all keys of a kind, with what is meant where some are missing.

    Raises:
        UserError: one that is needed is missing.
    """
    values = {**_USUAL, **{key: value for key, value in given.items() if value is not None}}
    values["truncate"] = bool(given.get("truncate", values["truncate"]))  # null is as good as false
    longest = config["max_position_embeddings"]
    original = (
        config.get("original_max_position_embeddings") or values.get("original_max_position_embeddings") or longest
    )
    check_numbers({"original_max_position_embeddings": original})
    values["original_max_position_embeddings"] = original
    if kind == "yarn":
        values.setdefault("factor", longest / original)
        factor, weight, of_all = values["factor"], values.get("mscale"), values.get("mscale_all_dim")
        usual = mscale(factor, weight) / mscale(factor, of_all) if weight and of_all else mscale(factor, 1.0)
        values.setdefault("attention_factor", usual)
    if kind == "longrope":
        if original <= 1:
            raise UserError(f"{says('original_max_position_embeddings', original)}, but it has to be above 1")
        factor = values.get("factor") or longest / original
        usual = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
        values.setdefault("attention_factor", usual)
    if missing := [key for key in NAMES[kind][1] if values.get(key) is None]:
        raise UserError(f"config.json has no {missing[0]} in its rope parameters, which {kind!r} needs")
    return values


def width_of(layer: Mapping[str, Any]) -> int:
    """How many numbers of a head are rotated when all are."""
    return layer.get("attention.rope_dim") or layer["attention.head_dim"]
