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


def measured_flops(device: torch.device, dtype: torch.dtype, size: int = 2048, tries: int = 5) -> float:
    """The best of a few products of two square matrices, in FLOPs a second."""
    a = torch.ones(size, size, device=device, dtype=dtype)  # not random, which would draw from the run's generator
    seconds = []
    for _ in range(tries + 1):  # the first warms up
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[1:])
