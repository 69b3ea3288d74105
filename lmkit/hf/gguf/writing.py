"""Writes a network and its tokenizer as one GGUF file, which appears whole or not at all, a tensor at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.extra import needed
from lmkit.hf.gguf.architecture import chosen
from lmkit.hf.gguf.architectures import ARCHITECTURES
from lmkit.hf.gguf.kinds import FILE_TYPES, Kind, array_of, form_of
from lmkit.hf.gguf.rope import LONG, frequency_factors
from lmkit.hf.gguf.rules import PlusOne
from lmkit.hf.gguf.vocabulary import vocabulary_of
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.binding import bind
from lmkit.hf.tables.rule import Rule
from lmkit.hf.tokens.files import TokenizerFiles


class Gguf:
    """A file of llama.cpp, looked through before any of it is written.

    Args:
        anatomy: the parts of the network.
        tensors: the network's tensors by lmkit's names, on any device and in any dtype.
        tokenizer: its tokenizer; none for a file of the network alone.
        name: what the model is called.

    Attributes:
        architecture: what llama.cpp takes the network for.
        keys: what the file says of the network, by the names of the keys.
        remarks: what is not quite as here, a sentence each.

    Raises:
        UserError: llama.cpp does not compute what the network does, or splits no text as its tokenizer does.
    """

    def __init__(
        self, anatomy: Anatomy, tensors: Mapping[str, Tensor], tokenizer: TokenizerFiles | None, name: str
    ) -> None:
        self.architecture, self.keys = chosen(anatomy, ARCHITECTURES)
        self._anatomy, self._tensors, self._name = anatomy, tensors, name
        self._rules = bind(self.architecture.weights, tensors, anatomy)
        self._more = frequency_factors(anatomy)
        self._vocabulary = vocabulary_of(tokenizer, anatomy.whole["vocab_size"])
        self.remarks = [*_remarks(anatomy), *self._vocabulary.remarks]

    def write(self, file: Path, kind: Kind) -> None:
        """Writes the file.

        Args:
            file: its path; one that is there is replaced.
            kind: of the numbers of matrices; vectors are kept in float32.

        Raises:
            UserError: the package is missing, the file cannot be made, or a number is too large for its kind.
        """
        gguf = needed("gguf", "writing GGUF", extra="gguf")
        part = file.with_name(f".{file.name}.{uuid4().hex}.part")
        writer = gguf.GGUFWriter(part, self.architecture.name)
        try:
            self._write(writer, part, kind)
            writer.close()
            part.replace(file)
        except OSError as error:
            raise UserError(
                f"cannot write {file} ({error.strerror or error}): free space, or give another path"
            ) from error
        finally:
            writer.close()
            part.unlink(missing_ok=True)

    def _write(self, writer: Any, part: Path, kind: Kind) -> None:
        writer.add_name(self._name)
        writer.add_file_type(FILE_TYPES[kind])
        writer.add_quantization_version(needed("gguf", "writing GGUF", extra="gguf").GGML_QUANT_VERSION)
        for key, value in {**self.keys, **self._vocabulary.keys}.items():
            add(writer, key, value)
        shapes = {name: shape for name, shape, _ in self._planned()}
        forms = {name: form_of(name, shape, kind) for name, shape in shapes.items()}
        types = needed("gguf", "writing GGUF", extra="gguf").GGMLQuantizationType
        for name, form in forms.items():
            dtype = np.dtype("uint8" if form.kind == "q8_0" else "float32")  # of bytes, or of anything else
            writer.add_tensor_info(name, form.shape, dtype, form.size, types[form.kind.upper()])
        writer.write_header_to_file(part)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, _, rule in self._planned():
            writer.write_tensor_data(array_of(name, self._made(name, rule), forms[name]))

    def _planned(self) -> Iterator[tuple[str, tuple[int, ...], Rule | None]]:
        """The tensors of the file: name, shape and how each is made of the network's."""
        for rule in self._rules:
            yield rule.theirs, rule.shape(self._tensors), rule
        copied = self.architecture.copied
        if copied and self._anatomy.whole["tied"]:
            rule = next(rule for rule in self._rules if rule.ours == ("embedding.weight",))
            yield copied, rule.shape(self._tensors), rule
        for name, tensor in self._more.items():
            yield name, tuple(tensor.shape), None

    @torch.no_grad()
    def _made(self, name: str, rule: Rule | None) -> Tensor:
        if rule is None:
            return self._more[name]
        made = torch.empty(rule.shape(self._tensors))
        for pair in rule.pairs(made, self._tensors):
            pair.theirs.copy_(pair.ours)
        return made + 1 if isinstance(rule, PlusOne) else made


def _remarks(anatomy: Anatomy) -> list[str]:
    """What llama.cpp computes a little otherwise than the network."""
    found = []
    if any(layer.get("feed_forward.activation.approximate") == "none" for layer in anatomy.layers):
        found.append("llama.cpp takes GELU in its tanh form, so that logits differ by some thousandths")
    if any(layer["position"] == LONG for layer in anatomy.layers):
        found.append("llama.cpp chooses the long factors by the context that is asked of it, not by a text's length")
    return found


def add(writer: Any, key: str, value: Any) -> None:
    """Adds a key to what a `GGUFWriter` will write, none for one without a value."""
    if value is None:
        return
    kinds = {bool: "bool", int: "uint32", float: "float32", str: "string", list: "array"}
    getattr(writer, f"add_{kinds[type(value)]}")(key, value)
