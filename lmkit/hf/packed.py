"""Weights that are stored in fewer bits with scales beside them, read as the numbers that they stand for."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any

import torch
from torch import Tensor

from lmkit.errors import UserError

PACKED = "quantization_config"
"""Where a config says how weights are packed."""

FOUR_BITS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""The positive numbers of E2M1, the OCP's float of four bits, by their code; with the fourth bit they are negative."""


class Packing(ABC):
    """How two tensors of a file are one.

    Attributes:
        method: its `quant_method`.
        ends: how the names of the two end, that of the codes and that of their scales.
        end: how the name of the whole ends instead.
        dtypes: of codes, and of scales.
    """

    method: str
    ends: tuple[str, str]
    end: str
    dtypes: tuple[torch.dtype, tuple[torch.dtype, ...]]

    def pairs(self, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """The two of each tensor that is packed, by its name."""
        known, (codes, scales) = set(names), self.ends
        whole = {name.removesuffix(codes) for name in known if name.endswith(codes)}
        return {
            f"{name}{self.end}": (f"{name}{codes}", f"{name}{scales}") for name in whole if f"{name}{scales}" in known
        }

    @abstractmethod
    def shape(self, codes: tuple[int, ...], scales: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape of what two tensors of these shapes stand for; none if they do not belong together."""

    def fits(self, codes: Tensor, scales: Tensor) -> bool:
        """Whether two tensors are what is packed so."""
        return codes.dtype == self.dtypes[0] and scales.dtype in self.dtypes[1]

    @abstractmethod
    def unpacked(self, codes: Tensor, scales: Tensor) -> Tensor:
        """What they stand for, in bfloat16."""


class Mxfp4(Packing):
    """OCP microscaling: four bits a number, two numbers a byte, a power of two for each 32 numbers (as in gpt-oss)."""

    method, ends, end = "mxfp4", ("_blocks", "_scales"), ""
    dtypes = (torch.uint8, (torch.uint8,))

    def shape(self, codes: tuple[int, ...], scales: tuple[int, ...]) -> tuple[int, ...] | None:
        """Codes are (experts, columns, blocks, 16), scales (experts, columns, blocks)."""
        experts, columns, blocks = scales if len(scales) == 3 else (0, 0, 0)
        return (experts, blocks * 32, columns) if codes == (experts, columns, blocks, 16) else None

    def unpacked(self, codes: Tensor, scales: Tensor) -> Tensor:
        """See `Packing`; one expert after another, as indices take eight times the room of codes."""
        numbers = torch.tensor([*FOUR_BITS, *(-number for number in FOUR_BITS)], dtype=torch.bfloat16)
        experts, columns, blocks = scales.shape
        whole = torch.empty(experts, blocks * 32, columns, dtype=torch.bfloat16)
        for expert, code, scale in zip(whole, codes, scales, strict=True):
            halves = torch.stack([code & 15, code >> 4], dim=-1).flatten(-2)  # (columns, blocks, 32)
            factors = torch.ldexp(torch.ones(scale.shape), scale.int() - 127).to(torch.bfloat16)
            expert.copy_((numbers[halves.int()] * factors[..., None]).flatten(-2).T)
        return whole


class BlockFp8(Packing):
    """Eight bits a number (E4M3), and a factor for each block of a matrix (as in DeepSeek-V3).

    Args:
        block: the rows and columns of a block.
    """

    method, ends, end = "fp8", (".weight", ".weight_scale_inv"), ".weight"
    dtypes = (torch.float8_e4m3fn, (torch.float32, torch.bfloat16, torch.float16))

    def __init__(self, block: tuple[int, int]) -> None:
        self.block = block

    def shape(self, codes: tuple[int, ...], scales: tuple[int, ...]) -> tuple[int, ...] | None:
        """Codes are (rows, columns), scales those divided by a block's, the last block being smaller perhaps."""
        rounded = tuple(ceil(size / block) for size, block in zip(codes, self.block, strict=False))
        return codes if len(codes) == 2 and rounded == scales else None

    def unpacked(self, codes: Tensor, scales: Tensor) -> Tensor:
        """See `Packing`; one row of blocks after another."""
        whole = torch.empty(codes.shape, dtype=torch.bfloat16)
        rows, columns = self.block
        for part, code, scale in zip(whole.split(rows), codes.split(rows), scales, strict=True):
            part.copy_(code.float() * scale.float().repeat_interleave(columns)[: codes.size(1)])
        return whole


def packing_of(config: Mapping[str, Any]) -> Packing | None:
    """How the weights of a folder are packed; none if they are not.

    Raises:
        UserError: in a way that is not known.
    """
    if not (said := config.get(PACKED)):
        return None
    said = said if isinstance(said, dict) else {"quant_method": said}
    block: Any = said.get("weight_block_size")
    if said.get("quant_method") == Mxfp4.method:
        return Mxfp4()
    pair = isinstance(block, list) and len(block) == 2 and all(isinstance(size, int) and size > 0 for size in block)
    if said.get("quant_method") == BlockFp8.method and said.get("fmt", "e4m3") == "e4m3" and pair:
        return BlockFp8((block[0], block[1]))
    raise UserError(
        f"config.json says quantization_config ({said.get('quant_method', 'unknown')}), but of quantized weights lmkit "
        "reads mxfp4, and fp8 (e4m3) in blocks: give the folder of the model as it was before"
    )
