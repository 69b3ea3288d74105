"""The bytes of a plain, .gz or .zst file, a bounded chunk at a time, so that no file is ever held whole."""

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import zstandard

from lmkit.errors import UserError

# Compressed input expands to a multiple of this, so it bounds the memory of both.
CHUNK_BYTES = 1 << 16


def chunks(path: Path) -> Iterator[bytes]:
    """Yields the decompressed bytes of `path` in order.

    Raises:
        UserError: the file cannot be read, or its compressed data is corrupt or cut short.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield from _zstd(file) if path.suffix.lower() == ".zst" else _parts(file)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise UserError(f"cannot read {path}: {error}; repair or remove this file") from error


def lines(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Joins chunks and cuts them after each line feed; the last line may lack one."""
    rest: list[bytes] = []
    for part in parts:
        first, feed, others = part.partition(b"\n")
        rest.append(first + feed)
        if not feed:
            continue
        yield b"".join(rest)
        *whole, last = others.split(b"\n")
        yield from (line + b"\n" for line in whole)
        rest = [last]
    if any(rest):
        yield b"".join(rest)


def _parts(file: gzip.GzipFile | BufferedReader) -> Iterator[bytes]:
    while part := file.read(CHUNK_BYTES):
        yield part


def _zstd(file: gzip.GzipFile | BufferedReader) -> Iterator[bytes]:
    """Decompresses frame after frame; zstandard's own stream reader takes a file that is cut short for a whole one."""
    frame = None
    while part := file.read(CHUNK_BYTES // 4):
        while part:
            frame = frame or zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
            yield frame.decompress(part)
            part, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        raise EOFError("the compressed data ends inside a frame")
