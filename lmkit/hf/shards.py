"""Weights of a Hugging Face folder: one safetensors file, or several of a size that fits, with their index."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from lmkit.extra import needed

NAME = "model.safetensors"


def write_shards(folder: Path, tensors: Iterable[tuple[str, Tensor]], sizes: Mapping[str, int], most: int) -> None:
    """Writes tensors as they are made, holding those of one file at a time.

    Args:
        folder: which is there.
        tensors: by name, each made when it is asked for, in the order of `sizes`.
        sizes: of each in bytes.
        most: of a file in bytes; a tensor that is larger has a file of its own.
    """
    groups = _groups(sizes, most)
    stem = NAME.removesuffix(".safetensors")
    names = [f"{stem}-{number:05}-of-{len(groups):05}.safetensors" for number in range(1, len(groups) + 1)]
    names = names if len(groups) > 1 else [NAME]
    pending = iter(tensors)
    for name, group in zip(names, groups, strict=True):
        save_file(dict(next(pending) for _ in group), folder / name)
    if len(groups) > 1:
        places = {tensor: name for name, group in zip(names, groups, strict=True) for tensor in group}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": places}
        (folder / f"{NAME}.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def save_file(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes a safetensors file, to be read by those who may read other new files; the library's own are private."""
    path.touch()
    mode = path.stat().st_mode
    needed("safetensors.torch", "writing a Hugging Face folder").save_file(tensors, path, {"format": "pt"})
    path.chmod(mode)


def _groups(sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """The tensors of each file."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if groups[-1] and filled + size > most:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups
