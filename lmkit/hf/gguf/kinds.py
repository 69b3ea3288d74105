"""In what form the numbers of a GGUF file are kept."""

from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from lmkit.errors import UserError
from lmkit.extra import needed

Kind = Literal["f32", "f16", "q8_0"]
"""float32; float16; or 8 bits a number, in blocks of 32 with a float16 to multiply by (8.5 bits a number)."""

FILE_TYPES: dict[Kind, int] = {"f32": 0, "f16": 1, "q8_0": 7}
"""Their numbers in `general.file_type`."""

_BLOCK = 32
_KEPT = ("ffn_gate_inp.weight", "position_embd.weight", "attn_sinks.weight")
"""Ends of the names of matrices that llama.cpp wants in float32, or from which little is gained."""


class Form(NamedTuple):
    """How a tensor lies in the file.

    Attributes:
        kind: of its numbers.
        shape: of the bytes of 8-bit blocks, or else of the numbers.
        size: in bytes.
    """

    kind: Kind
    shape: tuple[int, ...]
    size: int


def form_of(name: str, shape: tuple[int, ...], kind: Kind) -> Form:
    """In which form a tensor is kept: vectors, biases and routers in float32, rows that are no whole blocks in float16.

    Args:
        name: in the file.
        shape: of the tensor.
        kind: what is wished for.
    """
    if len(shape) < 2 or not name.endswith(".weight") or name.endswith(_KEPT):
        kind = "f32"
    elif kind == "q8_0" and shape[-1] % _BLOCK:
        kind = "f16"
    if kind == "q8_0":
        shape = (*shape[:-1], shape[-1] // _BLOCK * (_BLOCK + 2))
    return Form(kind, shape, int(np.prod(shape)) * {"f32": 4, "f16": 2, "q8_0": 1}[kind])


def array_of(name: str, tensor: Tensor, form: Form) -> Any:
    """A tensor as the file's bytes.

    Raises:
        UserError: it holds a number that float16 does not.
    """
    gguf = needed("gguf", "writing GGUF", extra="gguf")
    numbers = tensor.float().contiguous().numpy()
    with np.errstate(over="ignore"):  # which is told below
        array = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType[form.kind.upper()])
    if form.kind == "f16" and not np.isfinite(array).all():
        raise UserError(f"{name} holds numbers beyond 65504, the largest of float16: export another kind, such as f32")
    return array
