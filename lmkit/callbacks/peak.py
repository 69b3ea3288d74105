"""The most FLOPs a second that a device can do: the yardstick of MFU and of the choice of precision."""

import time

import torch
from lightning.fabric.utilities.throughput import get_available_flops


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second of the device at best: known from its data sheet, or measured on a matrix product."""
    if device.type == "cuda":
        try:
            known = get_available_flops(device, dtype)
        except (RuntimeError, KeyError, NotImplementedError):  # a device or a dtype that the table lacks
            known = None
        if known:
            return float(known)
    return measured_flops(device, dtype)


def measured_flops(device: torch.device, dtype: torch.dtype, tries: int = 5, size: int | None = None) -> float:
    """The best of a few series of products of two square matrices, in FLOPs a second.

    Args:
        device: the one to measure.
        dtype: of the matrices.
        tries: series of products.
        size: of the matrices, rows and columns; none for one that suits the device.
    """
    # on an accelerator large and many, beside which starting a product and waiting for the last take no time
    usual, products = (2048, 1) if device.type == "cpu" else (8192, 10)
    size = size or usual
    draws = torch.Generator(device).manual_seed(0)  # leaves the run's own alone
    a = torch.randn(size, size, device=device, generator=draws).to(dtype)
    out = torch.empty_like(a)
    seconds = []
    for _ in range(tries + 1):  # the first warms up
        start = time.perf_counter()
        for _ in range(products):
            torch.mm(a, a, out=out)
        out[0, 0].item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 * products / min(seconds[1:])
