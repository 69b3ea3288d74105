"""The precision of a run whose recipe names none: bf16 where the device is made for it. All ranks get the same."""

import os

import torch
from lightning.pytorch.utilities import rank_zero_info

from lmkit.callbacks.peak import measured_flops

GAIN = 1.5
"""How many times faster than float32 a product of bfloat16 matrices must be to be worth its rounding."""

CHOSEN = "LMKIT_PRECISION"
"""Environment variable that tells what was chosen to the ranks that a process starts, which might measure another."""

LAUNCHED = ("TORCHELASTIC_RUN_ID", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
"""Environment variables of ranks that something else starts."""


def choose_precision(accelerator: str) -> str:
    """`bf16-mixed` or `32-true`: by what a GPU can do; elsewhere by half a second of matrix products.

    Args:
        accelerator: the trainer's; `auto` takes the machine's own.
    """
    if CHOSEN in os.environ:
        return os.environ[CHOSEN]
    own = torch.accelerator.current_accelerator(check_available=True)
    device = own if own is not None and accelerator != "cpu" else torch.device("cpu")
    if device.type == "cuda":
        fast, why = torch.cuda.is_bf16_supported(including_emulation=False), "what this GPU can do"
    elif any(name in os.environ for name in LAUNCHED):
        fast, why = False, "that of ranks that were not started by lmkit, which cannot agree on a measured one"
    else:
        gain = _gain(device)
        fast, measured = gain > GAIN, f"{gain:.1f} times as fast as float32's on this {device.type}"
        why = f"as bfloat16 products are {measured}, which is {'more' if fast else 'not more'} than {GAIN}"
    precision = "bf16-mixed" if fast else "32-true"
    os.environ[CHOSEN] = precision
    rank_zero_info(f"trainer.precision is {precision}, {why} (name one to choose another)")
    return precision


def _gain(device: torch.device) -> float:
    """How many times faster than float32's products of bfloat16 matrices are.

    On a CPU it is the best of each, by turns and in many tries of a millisecond on one core, as what else runs on a
    machine disturbs some of them for a while, and of several cores the slowest would count.
    """
    dtypes = (torch.bfloat16, torch.float32)
    if device.type != "cpu":
        of_bfloat16, of_float32 = (measured_flops(device, dtype) for dtype in dtypes)
        return of_bfloat16 / of_float32
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rates = [[measured_flops(device, dtype, tries=10, size=512) for dtype in dtypes] for _ in range(8)]
    torch.set_num_threads(threads)
    of_bfloat16, of_float32 = map(max, zip(*rates, strict=True))
    return of_bfloat16 / of_float32
