"""The precision of a run whose recipe names none: bf16 where the device is made for it, as measured."""

import torch
from lightning.pytorch.utilities import rank_zero_info

from lmkit.callbacks.peak import measured_flops

GAIN = 1.5
"""How many times faster than float32 a product of bfloat16 matrices must be to be worth its rounding."""


def choose_precision(accelerator: str) -> str:
    """`bf16-mixed` or `32-true`, by a fifth of a second of matrix products.

    Args:
        accelerator: the trainer's; `auto` takes the machine's own.
    """
    own = torch.accelerator.current_accelerator(check_available=True)
    device = own if own is not None and accelerator != "cpu" else torch.device("cpu")
    gain = measured_flops(device, torch.bfloat16) / measured_flops(device, torch.float32)
    precision = "bf16-mixed" if gain > GAIN else "32-true"
    rank_zero_info(
        f"trainer.precision is {precision}: on this {device.type} products of bfloat16 matrices are {gain:.1f} times "
        "as fast as of float32 (name a precision to choose another)"
    )
    return precision
