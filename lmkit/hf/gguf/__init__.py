"""GGUF, the files of llama.cpp: a network and its tokenizer in one, written by the package `gguf`.

Format: github.com/ggml-org/ggml, docs/gguf.md. Which keys and tensors an architecture has is llama.cpp's, as of
November 2026; `architectures/` holds what is known here, a table each.
"""

from lmkit.hf.gguf.kinds import Kind
from lmkit.hf.gguf.writing import Gguf

__all__ = ["Gguf", "Kind"]
