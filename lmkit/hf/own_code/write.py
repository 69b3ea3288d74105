"""Writes the code of a network into a folder of transformers, so that it runs where lmkit is not installed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lmkit import __version__
from lmkit.errors import UserError
from lmkit.hf.own_code.building_lmkit import build, flat_name
from lmkit.hf.own_code.flatten import flattened, gather, to_install
from lmkit.hf.own_code.imports import file_of
from lmkit.hf.own_code.recipe import classes_of, in_full
from lmkit.network import Decoder
from lmkit.registry.loading import PACKAGE

HERE = __package__ or ""
MODEL, CONFIGURATION = f"{HERE}.modeling_lmkit", f"{HERE}.configuration_lmkit"
PREFIX = "network."
"""Stands before the name of each tensor in the folder's safetensors."""


def write_code(network: Decoder, recipe: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Writes the .py files of a network: those its layers are in, and a configuration and model for transformers.

    Weights are not written; each tensor is to be called as in the network's `state_dict`, with `PREFIX` before it.

    Args:
        network: the decoder.
        recipe: the part of its recipe that it can be built from, as a checkpoint keeps it.
        folder: where to; it has to exist.

    Returns:
        What `config.json` has to hold. Its `packages` are those that the code imports, by the names they are imported
        by, beside what comes with torch and transformers; a machine that lacks one is told so when it loads the model.

    Raises:
        UserError: the network cannot be exported so, or is not what the recipe describes.
    """
    recipe = in_full(recipe)
    _check_use(network)
    _check_same(network, recipe)
    used = {*classes_of(recipe), *map(type, network.modules())}
    packages = {"lmkit", PACKAGE, *(_top(cls) for cls in used if any(_top(base) == "lmkit" for base in cls.__mro__))}
    modules = gather({cls.__module__ for cls in used if _top(cls) in packages} | {MODEL, CONFIGURATION}, packages)
    for module in modules:
        code = _header(module) + flattened(module, packages)
        if module == MODEL:
            code += _all_named(modules, to_install(modules, packages, at_once=True))
        (folder / f"{flat_name(module)}.py").write_text(code, encoding="utf-8")
    _check_found(folder, modules)
    return _configuration(network, recipe, to_install(modules, packages))


def _configuration(network: Decoder, recipe: dict[str, Any], packages: list[str]) -> dict[str, Any]:
    model = "LmkitForCausalLM"
    return {
        "model_type": "lmkit",
        "architectures": [model],
        "auto_map": {
            "AutoConfig": f"{flat_name(CONFIGURATION)}.LmkitConfig",
            "AutoModelForCausalLM": f"{flat_name(MODEL)}.{model}",
        },
        "dtype": str(network.head_weight.dtype).removeprefix("torch."),
        "vocab_size": network.vocab_size,
        "max_position_embeddings": network.context,
        "hidden_size": network.dim,
        "num_hidden_layers": len(network.blocks),
        "num_attention_heads": recipe.get("init_args", {}).get("heads", 0),
        "tie_word_embeddings": network.head is None,
        "use_cache": True,
        "recipe": recipe,
        "packages": packages,
        "lmkit_version": __version__,
    }


def _top(cls: type) -> str:
    """The package that a class is of."""
    return cls.__module__.partition(".")[0]


def _header(module: str) -> str:
    """Says where a file comes from; a plugin's belongs to who wrote it, and stays as it is."""
    if module.partition(".")[0] != "lmkit":
        return ""
    return f"# From lmkit {__version__} (Apache-2.0), {module.replace('.', '/')}.py, with its imports made relative.\n"


def _all_named(modules: list[str], packages: list[str]) -> str:
    """Imports of all files: transformers copies those that the model's file names, and looks for its packages only."""
    lines = ["", "", "# transformers copies only the files, and looks only for the packages, that are named here"]
    lines += [f"import {package}  # noqa: E402, F401" for package in packages]
    lines += [f"from .{flat_name(module)} import __name__ as _  # noqa: E402" for module in modules if module != MODEL]
    return "\n".join(lines) + "\n"


def _check_found(folder: Path, modules: list[str]) -> None:
    """Looks whether each file is there that transformers will look for, as it does: by the text of the code."""
    for module in modules:
        code = (folder / f"{flat_name(module)}.py").read_text(encoding="utf-8")
        for name in re.findall(r"^\s*(?:from|import)\s+\.(\S+)(?:\s+import|\s*$)", code, flags=re.MULTILINE):
            if not (folder / f"{name}.py").is_file():
                raise UserError(
                    f"transformers will read an import of .{name} in {file_of(module)}, but there is no such file: "
                    "change the text there"
                )


def _check_use(network: Decoder) -> None:
    if not isinstance(network, Decoder):
        raise UserError(f"a {type(network).__name__} cannot be exported with its own code: only a Decoder can")
    for part in network.modules():
        if getattr(part, "reads_memory", False):
            raise UserError(f"{type(part).__name__} looks at what an encoder has read: it cannot be exported alone")


def _check_same(network: Decoder, recipe: dict[str, Any]) -> None:
    """Looks whether a network is what is built from its recipe in the way of the exported code."""
    try:
        with torch.device("meta"):
            rebuilt = build(recipe)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the network cannot be built from its recipe ({type(error).__name__}: {error})") from error
    for (name, here), (other, there) in zip(_facts(network), _facts(rebuilt), strict=False):
        if (name, here) != (other, there):
            told = f"it has {name} ({here}), not {other} ({there})"
            raise UserError(f"the network is not what its recipe describes: {told}")
    if len([*_facts(network)]) != len([*_facts(rebuilt)]):
        raise UserError("the network is not what its recipe describes: it has more parts, or fewer")


def _facts(network: torch.nn.Module) -> Iterator[tuple[str, str]]:
    """The parts of a network and the shapes of its tensors, by name."""
    yield from ((name, type(part).__name__) for name, part in network.named_modules())
    yield from ((name, str(tuple(tensor.shape))) for name, tensor in network.state_dict().items())
