"""llama.cpp itself reads what is written: logits, texts that it continues, tokens.

Needs llama-cpp-python, which is built from source: CMAKE_ARGS="-DGGML_NATIVE=OFF" pip install llama-cpp-python. In
float32 it computes what lmkit does but for rounding, and for GELU, which it looks up in a table of float16 (arguments
too). With matrices in float16 it rounds what it multiplies by them to float16 too, and with 8 bits to 8 bits, so that
near choices of experts fall otherwise.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from lmkit.data.tokenizer import SPLIT
from lmkit.hf.gguf import Gguf, Kind
from lmkit.hf.gguf.splits import KNOWN
from tests.conftest import ROOT
from tests.hf.gguf_networks import CONFIGS, anatomy, network
from tests.hf.gguf_tokenizers import byte_level, files, sentence_piece, strings

pytest.importorskip("gguf")
llama_cpp = pytest.importorskip("llama_cpp")

GELU = {name for name in CONFIGS if name.startswith(("gpt2", "gpt_neox", "gemma"))}
MIXED = {name for name in CONFIGS if name.startswith(("mixtral", "qwen3_moe", "deepseek", "gpt_oss"))}


def loaded(file: Path, context: int = 64):
    """The file as llama.cpp has it, keys and values of the past in float32."""
    one = {"n_threads": 1, "n_threads_batch": 1}
    kept = {"type_k": 0, "type_v": 0}
    return llama_cpp.Llama(str(file), n_ctx=context, n_batch=64, logits_all=True, verbose=False, **one, **kept)


def logits_of(file: Path, tokens: list[int], context: int = 64) -> np.ndarray:
    model = loaded(file, context)
    model.eval(tokens)
    found = np.array(model.scores[: len(tokens)])
    model.close()
    return found


def error(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """By how much logits differ, in standard deviations of what they should be."""
    return np.abs(found - expected) / expected.std()


@torch.no_grad()
def ours(made, tokens: list[int]) -> np.ndarray:
    return made.logits(made(torch.tensor([tokens])))[0].numpy()


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_the_networks(tmp_path, name):
    parts = anatomy(name)
    made = network(parts)
    model = Gguf(parts, made.state_dict(), None, name)
    tokens = torch.randint(0, 96, (40,)).tolist()
    expected = ours(made, tokens)
    kinds: tuple[Kind, ...] = ("f32", "f16", "q8_0")
    found = []
    for kind in kinds:
        model.write(tmp_path / "model.gguf", kind)
        found.append(error(logits_of(tmp_path / "model.gguf", tokens), expected))
    full, half, eighth = found
    assert full.max() < (5e-3 if name in GELU else 2e-5)
    assert half.max() < 3e-2
    assert np.median(eighth) < (0.1 if name in MIXED else 0.06)
    assert eighth.max() < (5.0 if name in MIXED else 0.5)


def test_a_row_within_the_original_context_is_rotated_by_the_short_factors(tmp_path):
    rope = CONFIGS["phi3-longrope"][2]["rope_parameters"] | {"original_max_position_embeddings": 256}
    parts = anatomy("phi3-longrope", max_position_embeddings=1024, rope_parameters=rope)
    made = network(parts)
    Gguf(parts, made.state_dict(), None, "x").write(tmp_path / "model.gguf", "f32")
    tokens = torch.randint(0, 96, (40,)).tolist()
    assert error(logits_of(tmp_path / "model.gguf", tokens, context=256), ours(made, tokens)).max() < 2e-5
    assert error(logits_of(tmp_path / "model.gguf", tokens, context=512), ours(made, tokens)).max() > 1e-2


def test_a_base_that_is_raised_is_that_of_the_file(tmp_path):
    parts = anatomy("llama")
    for layer in parts.layers:
        layer |= {"position": "RotaryNTK", "position.factor": 4.0}
    made = network(parts)
    Gguf(parts, made.state_dict(), None, "x").write(tmp_path / "model.gguf", "f32")
    tokens = torch.randint(0, 96, (40,)).tolist()
    assert error(logits_of(tmp_path / "model.gguf", tokens), ours(made, tokens)).max() < 2e-5


@pytest.mark.parametrize("name", ["llama", "gemma3", "deepseek_v3", "gpt_oss"])
def test_the_most_likely_continuation_is_the_networks(tmp_path, name):
    parts = anatomy(name)
    made = network(parts)
    Gguf(parts, made.state_dict(), None, "x").write(tmp_path / "model.gguf", "f16")
    tokens = torch.randint(0, 96, (8,)).tolist()
    model = loaded(tmp_path / "model.gguf")
    model.eval(tokens)
    theirs = []
    for _ in range(24):
        theirs.append(int(model.scores[model.n_tokens - 1].argmax()))
        model.eval(theirs[-1:])
    model.close()
    for token in theirs:  # a tie of float16 may fall otherwise: what is chosen is the largest but for its rounding
        last = ours(made, tokens)[-1]
        assert last.max() - last[token] < 3e-2 * last.std()
        tokens.append(token)


def vocabulary_of(folder: Path, tokenizer, size: int):
    """llama.cpp's tokenizer of a file that is written for one of ours."""
    parts = anatomy("llama", vocab_size=size)
    model = Gguf(parts, network(parts).state_dict(), tokenizer, "x")
    model.write(folder / "model.gguf", "f16")
    return llama_cpp.Llama(str(folder / "model.gguf"), vocab_only=True, verbose=False)


@pytest.mark.parametrize("known", KNOWN, ids=KNOWN.values())
def test_tokens_of_byte_level_tokenizers_are_ours(tmp_path, known):
    made = byte_level(*known)
    theirs = vocabulary_of(tmp_path, files(tmp_path / "t", made), 1000)
    made.encode_special_tokens = True
    for text in strings():
        tokens = made.encode(text, add_special_tokens=False).ids
        assert theirs.tokenize(text.encode(), add_bos=False, special=False) == tokens, text
        assert theirs.detokenize(tokens) == text.encode()


@pytest.mark.parametrize("prefix", [True, False], ids=["llama 2", "gemma"])
def test_tokens_of_sentencepiece_are_ours(tmp_path, prefix):
    made = sentence_piece(prefix)
    tokenizer = files(tmp_path / "t", made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    theirs = vocabulary_of(tmp_path, tokenizer, 700)
    made.encode_special_tokens = True
    for text in strings():
        tokens = made.encode(text, add_special_tokens=True).ids
        assert theirs.tokenize(text.encode(), add_bos=True, special=False) == tokens, text


def test_tokens_of_metaspace_are_ours_but_for_a_space_before_the_first(tmp_path):
    held = json.loads(sentence_piece(prefix=True).to_str())
    step = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    made = Tokenizer.from_str(json.dumps(held | {"normalizer": None, "pre_tokenizer": step}))
    tokenizer = files(tmp_path / "t", made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    theirs = vocabulary_of(tmp_path, tokenizer, 700)
    made.encode_special_tokens = True
    for text in strings():
        if not text.startswith(" "):
            assert theirs.tokenize(text.encode(), special=False) == made.encode(text).ids, text


def test_few_tokens_of_lmkits_own_tokenizers_are_others(tmp_path):
    made = byte_level((SPLIT,))
    theirs = vocabulary_of(tmp_path, files(tmp_path / "t", made), 1000)
    made.encode_special_tokens = True
    text = "".join(path.read_text() for path in sorted((ROOT / "lmkit/data").glob("*.py")))
    ends = []
    for tokens in (made.encode(text, add_special_tokens=False).ids, theirs.tokenize(text.encode(), add_bos=False)):
        lengths = np.cumsum([len(theirs.detokenize([token])) for token in tokens])
        assert lengths[-1] == len(text.encode())
        ends.append(set(zip(lengths.tolist(), tokens, strict=True)))
    assert len(ends[0] - ends[1]) < 0.05 * len(ends[0])


def test_special_tokens_have_their_parts(tmp_path):
    made = byte_level(next(iter(KNOWN))[0])
    tokenizer = files(tmp_path / "t", made, eos_token="<|im_end|>", bos_token="<|endoftext|>")
    theirs = vocabulary_of(tmp_path, tokenizer, 1000)
    assert (theirs.token_eos(), theirs.token_bos()) == (1, 0)
    assert theirs.tokenize(b"<|im_end|>", add_bos=False, special=True) == [1]
    assert len(theirs.tokenize(b"<|im_end|>", add_bos=False, special=False)) > 1
