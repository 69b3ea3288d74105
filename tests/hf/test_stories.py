"""A real pretrained model, imported, used and exported again: see stories.py for where it comes from."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmkit.checkpoints import find
from lmkit.cli.main import main
from lmkit.hf.rebuilding import rebuild
from tests.hf.stories import download, write_folder

pytestmark = pytest.mark.slow

STORY = "Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine. One day,"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("stories")
    data = download(where)
    if data is None:
        pytest.skip("npm, or its registry, is not at hand")
    write_folder(data, where / "folder")
    return where / "folder"


@pytest.fixture(scope="module")
def imported(folder):
    out = folder.parent / "imported"
    assert main(["import", str(folder), str(out)]) == 0
    return out


def test_it_tells_a_story(imported, capsys):
    options = ["--prompt", "Once upon a time", "--temperature=0", "--count=24"]
    assert main(["generate", str(imported), *options]) == 0
    assert capsys.readouterr().out.startswith(STORY)


def test_its_logits_are_those_of_transformers(folder, imported):
    network = rebuild(find(imported)).network
    peer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = torch.tensor([AutoTokenizer.from_pretrained(folder)(STORY * 6).input_ids])
    with torch.no_grad():
        expected = peer(tokens).logits
        torch.testing.assert_close(network.logits(network(tokens)), expected, rtol=0, atol=1e-4)
    assert expected[0, :-1].log_softmax(-1).gather(-1, tokens[0, 1:, None]).mean() > -1.5  # it knows these words


def test_it_is_exported_as_it_came(folder, imported, capsys):
    out = folder.parent / "exported"
    assert main(["export", str(imported), str(out)]) == 0
    assert re.search(r"verdict +passed", capsys.readouterr().out)
    ours, theirs = load_file(out / "model.safetensors"), load_file(folder / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (out / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_it_is_trained_on(imported, tmp_path, capsys, monkeypatch):
    """From where it is, and not from where a network of its size begins."""
    monkeypatch.chdir(tmp_path)
    Path("stories.txt").write_text(STORY * 200)
    Path("others.txt").write_text(STORY * 20)
    recipe = Path(__file__).parent.parent.parent / "recipes/llama-small.yaml"
    options = ["--data.source=stories.txt", "--data.validation_source=others.txt", "--data.context=64"]
    options += [
        "--data.batch_size=2",
        "--model.optimizer.lr=1e-5",
        "--model.schedule=Constant",
        "--trainer.max_steps=3",
    ]
    command = ["fit", "--config", str(recipe), f"--model.init_from={imported}", "--trainer.val_check_interval=3"]
    assert main([*command, *options]) == 0
    loss = float(re.search(r"validation loss +([\d.]+)", capsys.readouterr().out)[1])
    assert loss < 1.5
