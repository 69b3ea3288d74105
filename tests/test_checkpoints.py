"""Checkpoint files: read without running their code, rebuilt with the tokenizer as it was trained with."""

from pathlib import Path

import pytest
import torch

from lmkit.checkpoints import read
from lmkit.data import tokenizer as tokenizing
from lmkit.errors import UserError
from lmkit.hf.rebuilding import rebuild
from tests.conftest import RECIPES


class Malicious:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("touched"),))


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "extra": Malicious()}, "evil.ckpt")
    with pytest.raises(UserError, match=r"evil\.ckpt .* is truncated or not a checkpoint"):
        read("evil.ckpt")
    assert not Path("touched").exists()


@pytest.mark.parametrize("content", [b"", b"hi there", b"PK\x03\x04" + bytes(50)])
def test_any_other_file_is_refused(tmp_path, content):
    (tmp_path / "other.ckpt").write_bytes(content)
    with pytest.raises(UserError, match="not a checkpoint"):
        read(tmp_path / "other.ckpt")


def test_a_rebuilt_tokenizer_reads_a_prompt_as_it_read_the_corpus(run, toy):
    assert run("fit", "-c", RECIPES / "gpt-small.yaml", *toy)[0] == 0
    rebuilt = rebuild(Path("runs/gpt-small/version_0/checkpoints/last.ckpt"))
    ids = rebuilt.tokenizer.encode("a<|endoftext|>b", add_special_tokens=False).ids
    assert rebuilt.end_of_document not in ids
    assert rebuilt.tokenizer.decode(ids, skip_special_tokens=False) == "a<|endoftext|>b"


@pytest.mark.slow
def test_an_end_that_only_the_tokenizers_folder_named_is_kept(run, toy, texts):
    made = tokenizing.train(iter([(texts / "0.txt").read_text()]), 290)
    made.add_special_tokens(["<|stop|>"])
    Path("own").mkdir()
    Path("own/tokenizer.json").write_text(made.to_str().replace("<|endoftext|>", "<|first|>"))
    Path("own/tokenizer_config.json").write_text('{"eos_token": "<|stop|>"}')
    code, _, err = run("fit", "-c", RECIPES / "gpt-small.yaml", *toy, "--data.tokenizer=own")
    assert code == 0, err
    rebuilt = rebuild(Path("runs/gpt-small/version_0/checkpoints/last.ckpt"))
    assert rebuilt.tokenizer.id_to_token(rebuilt.end_of_document) == "<|stop|>"
    assert rebuilt.end_of_document not in rebuilt.tokenizer.encode("a<|stop|>b", add_special_tokens=False).ids
