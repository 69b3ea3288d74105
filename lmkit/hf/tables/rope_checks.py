"""What rope parameters have to be, before anything is made of them."""

import math
from collections.abc import Mapping
from typing import Any

from lmkit.errors import UserError
from lmkit.hf.shown import says
from lmkit.hf.tables.values import Config, is_number

_BASE = ("rope_theta", "partial_rotary_factor")
_NUMBERS = (
    *_BASE, "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings", "beta_fast",
    "beta_slow", "attention_factor",
)  # fmt: skip
WEIGHTS = ("mscale", "mscale_all_dim")


def told(config: Config) -> Mapping[str, Any]:
    """What a config says of rotations by either name.

    Raises:
        UserError: it is no object.
    """
    key = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    given = config.get(key) or {}
    if not isinstance(given, Mapping):
        raise UserError(f"{says(key, given)}, but it has to be an object of keys and values")
    return given


def check_numbers(given: Mapping[str, Any]) -> None:
    """Looks whether all that has to be a number is one.

    Raises:
        UserError: one is not.
    """
    for key in WEIGHTS:
        if not (is_number(value := given.get(key) or 0) and 0 <= value < 1e6):
            raise UserError(f"{says(key, value)} in its rope parameters, but it has to be from 0 to 1e6")
    part = given.get("partial_rotary_factor") or 1.0
    if is_number(part) and part > 1:
        raise UserError(f"{says('partial_rotary_factor', part)}, but a head has no more than all of it: 1")
    for key, value in given.items():
        if key in _NUMBERS and not (is_number(value) and 0 < value < math.inf) and (value is not None or key in _BASE):
            raise UserError(f"{says(key, value)} in its rope parameters, but it has to be above 0")


def check_whole(given: Mapping[str, Any], share: float | None) -> None:
    """Refuses what transformers takes and fails at.

    Raises:
        UserError: a part of each head is to be rotated in a family that always rotates all of it.
    """
    part = given.get("partial_rotary_factor")
    if share is None and part not in (None, 1.0):
        raise UserError(f"{says('partial_rotary_factor', part)}, but its family rotates all of each head")
