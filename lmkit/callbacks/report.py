"""What a run reached, in a few lines for the person who started it."""

import lzma
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

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


def report(measures: Mapping[str, float], xz: float | None, sample: str, heading: str, following: Sequence[str]) -> str:
    """The lines printed at the end of a run.

    Args:
        measures: the last validation's `val/loss`, in nats a token where there is a `val/perplexity`, and
            `val/bits_per_byte`, `val/accuracy` and `val/f1` where they are known.
        xz: bits per byte of `xz -9e` on the same text.
        sample: a text that the network wrote.
        heading: what was run.
        following: commands to suggest.
    """
    lines = ["", heading]
    if "val/loss" in measures:
        loss = float(measures["val/loss"])
        perplexed = "val/perplexity" in measures
        lines.append(f"  validation loss  {loss:.4f}{' nats a token' if perplexed else ''}")
        lines += [f"  perplexity       {math.exp(loss):.2f}"] if perplexed else []
    if "val/accuracy" in measures:
        lines.append(f"  accuracy         {float(measures['val/accuracy']):.1%}")
    if "val/f1" in measures:
        lines.append(f"  macro F1         {float(measures['val/f1']):.1%}")
    if "val/bits_per_byte" in measures:
        beside = f"   (xz -9e on the same text: {xz:.4f})" if xz else ""
        lines.append(f"  bits per byte    {float(measures['val/bits_per_byte']):.4f}{beside}")
    if sample:
        lines += ["", "It writes:", *(f"  | {line}" for line in printable(sample).splitlines())]
    if following:
        lines += ["", "Next:", *(f"  {command}" for command in following)]
    return "\n".join(lines)


def printable(text: str) -> str:
    """The text with control characters spelled out, by which a terminal could be led astray, but for lines and tabs."""
    return "".join(
        f"\\x{ord(letter):02x}" if unicodedata.category(letter) == "Cc" and letter not in "\n\t" else letter
        for letter in text
    )
