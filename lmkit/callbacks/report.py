"""What a run reached, in a few lines for the person who started it."""

import lzma
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

XZ_LIMIT = 64 * 2**20
"""Bytes of text up to which xz is run: it takes about a second a MiB."""


def xz_bits_per_byte(texts: Iterable[bytes]) -> float | None:
    """Bits that `xz -9e` needs for each byte of all texts in a row; none past `XZ_LIMIT` or without text."""
    compressor = lzma.LZMACompressor(preset=9 | lzma.PRESET_EXTREME)
    size = packed = 0
    for text in texts:
        size += len(text)
        if size > XZ_LIMIT:
            return None
        packed += len(compressor.compress(text))
    return 8 * (packed + len(compressor.flush())) / size if size else None


def report(
    measures: Mapping[str, float], xz: float | None, sample: str, folder: Path, heading: str, prompt: str
) -> str:
    """The lines printed at the end of a run.

    Args:
        measures: the last validation's `val/loss` in nats, and `val/bits_per_byte` where it is known.
        xz: bits per byte of `xz -9e` on the same text.
        sample: a text that the network wrote.
        folder: the run's folder.
        heading: what was run.
        prompt: one to suggest.
    """
    lines = ["", heading]
    if "val/loss" in measures:
        loss = float(measures["val/loss"])
        lines += [f"  validation loss  {loss:.4f} nats a token", f"  perplexity       {math.exp(loss):.2f}"]
    if "val/bits_per_byte" in measures:
        beside = f"   (xz -9e on the same text: {xz:.4f})" if xz else ""
        lines.append(f"  bits per byte    {float(measures['val/bits_per_byte']):.4f}{beside}")
    if sample:
        lines += ["", "It writes:", *(f"  | {line}" for line in sample.splitlines())]
    lines.append("")
    lines += [
        "Next:",
        f'  lmkit generate {folder} --prompt "{prompt}"',
        f"  tensorboard --logdir {folder.parent.parent}",
    ]
    return "\n".join(lines)
