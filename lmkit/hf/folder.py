"""A Hugging Face folder as it is found: its config, and its tensors, which are read one at a time and never as code."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmkit.data.folder_texts import FolderTexts
from lmkit.errors import UserError
from lmkit.hf.files import AGAIN, Pickle, Safetensors, TensorFile
from lmkit.hf.packed import PACKED, packing_of
from lmkit.hf.shown import brief, plain

FORMS: tuple[tuple[str, type[TensorFile]], ...] = (("model.safetensors", Safetensors), ("pytorch_model.bin", Pickle))
"""Names of a single file of weights, in the order of preference; several files are listed in NAME.index.json."""

CONFIG = "config.json"
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


class Folder:
    """The files of a model.

    Args:
        path: of the folder.
        allow_pickle: whether `pytorch_model.bin` is read where there are no safetensors.

    Attributes:
        path: of the folder.
        config: what config.json says of the model, and not of how its weights are packed.
        packing: how they are; none for numbers as they are.

    Raises:
        UserError: there is no such folder, or its config, its index or its files do not hold what they should.
    """

    def __init__(self, path: str | Path, allow_pickle: bool = False) -> None:
        self.path, texts = Path(path), FolderTexts(Path(path))
        if not texts.has(CONFIG):
            raise UserError(f"no {CONFIG} in {path}: give a model's folder, as transformers' save_pretrained writes it")
        config = texts.json(CONFIG)
        self.packing = packing_of(config)
        self.config: dict[str, Any] = {key: value for key, value in config.items() if key != PACKED}
        self._places = _places(texts, allow_pickle)
        self._pairs = self.packing.pairs(self._places) if self.packing else {}
        if self.packing and not self._pairs:
            raise UserError(
                f"{CONFIG} in {path} says {PACKED} ({self.packing.method}), but no tensor is packed so: take the "
                f"key out if the weights are as they were before, or {AGAIN}"
            )

    @property
    def names(self) -> list[str]:
        """The tensors of all files, each that is packed in two of them once."""
        parts = {part for pair in self._pairs.values() for part in pair}
        return [*self._pairs, *(name for name in self._places if name not in parts)]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one.

        Raises:
            UserError: it is packed in two that do not belong together.
        """
        if self.packing is None or name not in self._pairs:
            return self._places[name].shape(name)
        codes, scales = self._pairs[name]
        one, other = (self._places[part].shape(part) for part in (codes, scales))
        if (shape := self.packing.shape(one, other)) is None:
            raise UserError(
                f"{codes} in {self.path} is of shape {one} and {scales} of {other}, which is no {self.packing.method} "
                f"matrix: {AGAIN}"
            )
        return shape

    def tensor(self, name: str) -> Tensor:
        """One of them, on the CPU, as it is stored, or as what is stored stands for.

        Raises:
            UserError: it does not hold floating-point numbers, or some that are none.
        """
        tensor, path = self._stored(name)
        if tensor.dtype not in DTYPES:
            raise UserError(
                f"{name} in {path} is of {tensor.dtype}, but lmkit imports floating-point weights only: give the "
                "folder of the model as it was before it was quantized"
            )
        if not tensor.sum().isfinite() and not tensor.isfinite().all():  # a sum is quick, but may overflow
            raise UserError(f"{name} in {path} holds numbers that are infinite or none (NaN): {AGAIN}")
        return tensor

    def _stored(self, name: str) -> tuple[Tensor, Path]:
        """A tensor, and the file that it is of."""
        first, *scales = self._pairs.get(name, (name,))
        tensor, path = self._places[first].tensor(first), self._places[first].path
        if self.packing is None or not scales:
            return tensor, path
        factors = self._places[scales[0]].tensor(scales[0])
        if not self.packing.fits(tensor, factors):
            raise UserError(
                f"{first} in {path} is of {tensor.dtype} with scales of {factors.dtype}, which is no "
                f"{self.packing.method}: {AGAIN}"
            )
        return self.packing.unpacked(tensor, factors), path


def _places(texts: FolderTexts, allow_pickle: bool) -> dict[str, TensorFile]:
    """The file of each tensor.

    Raises:
        UserError: there are none, or not those that the index lists.
    """
    folder = texts.folder
    for name, form in FORMS:
        index = f"{name}.index.json"
        if not (folder / name).is_file() and not texts.has(index):
            continue
        if form is Pickle and not allow_pickle:
            raise UserError(
                f"{folder} has no safetensors, but {name}, a pickle: import it, of which only tensors are read: "
                f"lmkit import {folder} OUT --allow-pickle"
            )
        if (folder / name).is_file():
            file = form(folder / name)
            return dict.fromkeys(file.names, file)
        return _listed(texts, index, form)
    raise UserError(
        f"{folder} has no {FORMS[0][0]}, nor {FORMS[0][0]}.index.json: give the folder of a model's weights"
    )


def _listed(texts: FolderTexts, index: str, form: type[TensorFile]) -> dict[str, TensorFile]:
    """The files of an index, each opened once.

    Raises:
        UserError: it names files elsewhere or that are missing, or they hold other tensors than it says.
    """
    told, folder = texts.json(index).get("weight_map"), texts.folder
    if not isinstance(told, dict) or not all(isinstance(name, str) for name in told.values()):
        raise UserError(f"{folder / index} has no weight_map of tensors to files: {AGAIN}")
    names = sorted(set(told.values()))
    if outside := [name for name in names if Path(name).name != name or name in ("", ".", "..")]:
        raise UserError(
            f"{folder / index} names the file {brief(outside[0])}, which is not in its folder: nothing is read there"
        )
    if missing := [name for name in names if not _is_file(folder / name)]:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{plain(missing[0])}{others} of the {len(names)} files in {index} is missing: {AGAIN}")
    files = {name: form(folder / name) for name in names}
    places: dict[str, TensorFile] = {}
    for file in files.values():
        if twice := next((tensor for tensor in file.names if tensor in places), None):
            raise UserError(f"{plain(twice)} is in {places[twice].path.name} and in {file.path.name}: {AGAIN}")
        places |= dict.fromkeys(file.names, file)
    for tensor in {**told, **places}:
        if places.get(tensor) is not files.get(told.get(tensor, "")):
            held = [plain(name) for name, file in files.items() if tensor in file.names]
            where = plain(told[tensor]) if tensor in told else "no file"
            raise UserError(
                f"{index} says that {plain(tensor)} is in {where}, but in {' and '.join(held) or 'none'}: {AGAIN}"
            )
    return places


def _is_file(path: Path) -> bool:
    """Whether there is a file; there is none of a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False
