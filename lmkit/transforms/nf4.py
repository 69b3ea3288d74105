"""NF4: sixteen values that numbers of a normal distribution take alike often (Dettmers et al. 2023, arXiv:2305.14314,
section 3), by the package bitsandbytes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.transforms.adapter import ALL
from lmkit.transforms.four_bits import FourBits

BLOCKS = (32, 64, 128, 256, 512, 1024)
"""Sizes that bitsandbytes has kernels for."""

SCALES = 256
"""Scales that share one of their own, where they are quantized too."""

MAPS: dict[torch.device, Tensor] = {}
"""The 256 values of a quantized scale, on each device that has been made ready."""


class NF4(FourBits):
    """Keeps matrices in four bits a number, for an adapter that is listed after it: `[NF4, LoRA]` is QLoRA (Dettmers et
    al. 2023, arXiv:2305.14314). Each number of a block is divided by the largest, and replaced by the nearest of
    sixteen values that numbers of a normal distribution take alike often. The whole network stays as it is.

    Args:
        targets: patterns of modules' names, such as `blocks.*.attention.q`, or `all-linear` for the matrices of all
            layers that are `Linear`: without the head, and without the routers and experts of mixtures.
        block: numbers, one after another in a row of the matrix, that share a scale: a power of 2 from 32 to 1024.
        double: whether the scales are quantized too, to eight bits: 4.13 bits a number instead of 4.5, at the block of
            64.
    """

    package = "bitsandbytes"

    def __init__(self, targets: list[str] | str = ALL, block: int = 64, double: bool = True) -> None:
        super().__init__(targets, block)
        if block not in BLOCKS:
            raise UserError(f"block of NF4 is {block}: give one of {', '.join(map(str, BLOCKS))}")
        self.double = double

    def sizes(self, outputs: int, inputs: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """See `Codes`; with `double`, `levels` has the mean of the scales, and then what each 256 are scaled by."""
        blocks = -(-outputs * inputs // self.block)
        codes = {"codes": ((outputs, inputs // 2), torch.uint8)}
        if not self.double:
            return {**codes, "scales": ((blocks,), torch.float32)}
        return {**codes, "scales": ((blocks,), torch.uint8), "levels": ((1 + -(-blocks // SCALES),), torch.float32)}

    def quantized(self, weight: Tensor) -> dict[str, Tensor]:
        """See `Codes`."""
        from bitsandbytes import functional as bits  # noqa: PLC0415

        code = _map(weight.device)
        codes, state = bits.quantize_4bit(weight.contiguous(), blocksize=self.block, quant_type="nf4")
        codes = codes.view(weight.size(0), -1)
        if not self.double:
            return {"codes": codes, "scales": state.absmax}
        mean = state.absmax.mean().view(1)
        scales, state = bits.quantize_blockwise(state.absmax - mean, code=code, blocksize=SCALES)
        return {"codes": codes, "scales": scales, "levels": torch.cat([mean, state.absmax])}

    def restored(self, parts: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """See `Codes`. The kernel is given rows of one block, or a single row: in others that are no multiple of a
        block, it takes the scales of other blocks (0.50.2, on CPUs with AVX-512).
        """
        from bitsandbytes import functional as bits  # noqa: PLC0415

        codes, scales = parts["codes"], parts["scales"]
        code = _map(codes.device)
        if self.double:
            levels = parts["levels"]
            scales = bits.dequantize_blockwise(scales, absmax=levels[1:], code=code, blocksize=SCALES) + levels[0]
        total, kind = 2 * codes.numel(), torch.float32 if dtype is torch.float64 else dtype
        rows = (1, total) if total % self.block else (total // self.block, self.block)
        state = bits.QuantState(scales, rows, None, self.block, "nf4", kind)
        weight: Tensor = bits.dequantize_4bit(codes.view(-1, 1), state)
        return weight.view(codes.size(0), -1)


def _map(device: torch.device) -> Tensor:
    """The values of a quantized scale; the first time bitsandbytes makes its sixteen too, and keeps them.

    It makes these in the dtype that is the default by then, and a run in bfloat16 would have them rounded to that.
    """
    from bitsandbytes import functional as bits  # noqa: PLC0415

    if device not in MAPS:
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            bits.quantize_4bit(torch.zeros(BLOCKS[0], device=device), blocksize=BLOCKS[0], quant_type="nf4")
            MAPS[device] = bits.create_dynamic_map().to(device)
        finally:
            torch.set_default_dtype(default)
    return MAPS[device]
