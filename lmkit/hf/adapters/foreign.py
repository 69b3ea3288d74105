"""What the `adapter_config.json` of peft says, as far as lmkit knows what is meant."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmkit.data.folder_texts import FolderTexts
from lmkit.errors import UserError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

METHODS = ("LORA", "IA3")

READ = frozenset(("lora_alpha", "lora_dropout", "alpha_pattern", "use_dora", "use_rslora"))

# fmt: off
TOLD = frozenset((
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "fan_in_fan_out", "feedforward_modules",
    "inference_mode", "init_ia3_weights", "layers_pattern", "layers_to_transform", "megatron_core",
    "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision",
    "runtime_config", "target_modules", "target_parameters", "task_type",
))
# fmt: on
"""Keys that say what the tensors themselves say, or nothing of what is computed."""

BESIDE = (True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` by which the base stays as it was."""


def read_options(folder: Path) -> dict[str, Any]:
    """What it says.

    Raises:
        UserError: the folder has none, or it says what lmkit does not know.
    """
    files = FolderTexts(folder)
    if not files.has(CONFIG):
        raise UserError(f"no {CONFIG} in {folder}: give a folder as peft's save_pretrained writes it")
    options = files.json(CONFIG)
    if (kind := options.get("peft_type")) not in METHODS:
        raise UserError(
            f"{CONFIG} says peft_type: {kind!r}, but lmkit reads LORA (LoRA and DoRA) and IA3 only: merge it by peft"
        )
    if (begun := options.get("init_lora_weights", True)) not in BESIDE:
        raise UserError(
            f"{CONFIG} says init_lora_weights: {begun!r}, by which the base was changed too: convert the adapter by "
            "peft's path_initial_model_for_weight_conversion, or merge it there"
        )
    known = READ | TOLD | {"init_lora_weights"}
    for name, value in options.items():
        if name not in known and value not in (None, False, [], {}, "none"):
            raise UserError(f"{CONFIG} says {name}: {value!r}, which lmkit does not know: merge the adapter by peft")
    return options


def alpha_of(options: Mapping[str, Any], name: str) -> float:
    """The alpha of a module, by the patterns that peft compares with names.

    Raises:
        UserError: a pattern or a value is none.
    """
    try:
        for pattern, alpha in (options.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", name) or re.match(rf"(.*\.)?({pattern})$", f"{name}.weight"):
                return float(alpha)
        return float(options["lora_alpha"])
    except (re.error, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{CONFIG} does not say the alpha of {name} ({error!r}): get the file again") from error
