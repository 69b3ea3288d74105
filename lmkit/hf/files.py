"""Files of tensors: safetensors, and, if that is allowed, the pickles before them, none of whose code is run."""

from abc import ABC, abstractmethod
from pathlib import Path
from zipfile import is_zipfile

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.extra import needed

AGAIN = "get the file again, or give another folder"


class TensorFile(ABC):
    """Tensors by name, read when they are asked for.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """The names of its tensors."""

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one."""

    @abstractmethod
    def tensor(self, name: str) -> Tensor:
        """One of them, on the CPU; mapped from the disk rather than copied."""


class Safetensors(TensorFile):
    """A file of the safetensors format, which holds nothing but tensors.

    Raises:
        UserError: it is truncated or no such file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        package = needed("safetensors", "reading a Hugging Face folder")
        try:
            self._open = package.safe_open(path, "pt")
        except (package.SafetensorError, OSError) as error:
            raise UserError(f"{path} is truncated or no safetensors file ({error}): {AGAIN}") from error

    @property
    def names(self) -> list[str]:
        """See `TensorFile`."""
        return list(self._open.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """See `TensorFile`."""
        return tuple(self._open.get_slice(name).get_shape())

    def tensor(self, name: str) -> Tensor:
        """See `TensorFile`."""
        return self._open.get_tensor(name)


class Pickle(TensorFile):
    """A file of `torch.save`, read by an unpickler that makes tensors only; mapped, but for those before torch 1.6.

    Raises:
        UserError: it is truncated, or holds something else than tensors.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
        except Exception as error:  # whatever comes of reading any file as one
            said = " ".join(str(error).split())[:160]
            raise UserError(f"{path} is truncated, or holds more than tensors ({said}): {AGAIN}") from error
        if not isinstance(held, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in held.items()):
            raise UserError(f"{path} holds something else than tensors by name: {AGAIN}")
        self._held: dict[str, Tensor] = held

    @property
    def names(self) -> list[str]:
        """See `TensorFile`."""
        return list(self._held)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `TensorFile`."""
        return tuple(self._held[name].shape)

    def tensor(self, name: str) -> Tensor:
        """See `TensorFile`."""
        return self._held[name]
