"""Writes a tiny network as a GGUF file and reads it back by the package `gguf`."""

from pathlib import Path
from typing import Any

import numpy as np

from lmkit.hf.gguf import Gguf, Kind
from tests.hf.gguf_networks import anatomy, network


def written(folder: Path, name: str, kind: Kind, tokenizer=None, **changed: Any):
    """The parts of a network, it, and its file."""
    import gguf

    parts = anatomy(name, **changed)
    made = network(parts)
    file = folder / "model.gguf"
    Gguf(parts, made.state_dict(), tokenizer, "a model").write(file, kind)
    return parts, made, gguf.GGUFReader(file)


def tensors_of(reader) -> dict[str, np.ndarray]:
    import gguf

    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(tuple(tensor.shape[::-1]))
        for tensor in reader.tensors
    }


def keys_of(reader) -> dict[str, Any]:
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
