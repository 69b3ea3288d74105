"""A Hugging Face folder as the place where a network starts."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lmkit.hf.importing import kept_of
from lmkit.hf.model import Model
from lmkit.hf.more_tokens import fill_new_rows, known_rows
from lmkit.hf.start_kind import Start, check_same
from lmkit.hf.tokens import files as tokenizer_files
from lmkit.hf.tokens.files import TokenizerFiles
from lmkit.network.fingerprint import fingerprint_of


class FromFolder(Start):
    """A Hugging Face folder.

    Args:
        path: of it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._model = path, Model(path)
        self.recipe, self.plugins, self.notes = self._model.recipe, [], self._model.notes

    def load_into(self, network: nn.Module) -> None:
        """See `Start`."""
        own, shapes = network.state_dict(), self._model.shapes
        known = known_rows(own, shapes)
        check_same(known, shapes, self._model.folder.path)
        self._model.fill(known)
        fill_new_rows(own, shapes)

    def tensors(self) -> dict[str, Tensor]:
        """See `Start`."""
        return self._model.tensors()

    def fingerprint(self) -> str:
        """See `Start`."""
        return fingerprint_of(self._model.digests())

    def tokenizer(self) -> TokenizerFiles:
        """See `Start`."""
        return tokenizer_files.read(self._model.folder.path)

    @property
    def imported(self) -> dict[str, Any]:
        """See `Start`."""
        return kept_of(self._model, self.tokenizer())
