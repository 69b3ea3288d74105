"""Model cards: what a run leaves is told, what is not there is left out, what is told is true and works."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from transformers import PreTrainedTokenizerFast

from lmkit.checkpoints import find, read
from lmkit.errors import UserError
from lmkit.hf.card.facts import CardFacts, facts_of
from lmkit.hf.card.licenses import license_fields
from lmkit.hf.card.paths import shortened
from lmkit.hf.card.text import card
from lmkit.hf.proof.comparing import Difference
from lmkit.hf.proof.receipt import Receipt
from tests.conftest import RECIPES
from tests.hf.test_receipt import exported

VERSIONS = {"torch": "2.13.0", "transformers": "5.3.0", "safetensors": "0.8.0", "lmkit": "0.1.0"}
RECEIPT = Receipt("Own", 64, {"random tokens": Difference(4, 64, 2e-7, 3e-8)}, 32, 0, 1000, 1000, (), VERSIONS)


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def sections(text):
    return re.findall(r"^## (.*)$", text, re.MULTILINE)


def rows(text):
    return dict(re.findall(r"^\| (.+?) \| (.+) \|$", text, re.MULTILINE))


def logged(folder):
    return (folder / "metrics.csv").read_text().splitlines()[-1].split(",")[-3:]


@pytest.mark.slow
def test_a_run_is_told_and_made_again_from_its_card(run, toy, texts, tmp_path):
    plugin = tmp_path / "secret" / "my_plugin.py"
    plugin.parent.mkdir()
    plugin.write_text("X = 1\n")
    code, _, errors = run("fit", "--config", RECIPES / "gpt-small.yaml", *toy, f"--plugins={plugin}")
    assert code == 0, errors
    folder = Path("runs/gpt-small/version_0")
    checkpoint = read(find(folder, ("last",)))
    facts = facts_of(checkpoint, folder)
    text = card(replace(facts, receipt=RECEIPT, license="apache-2.0"))
    assert str(texts.parent) not in text and str(tmp_path) not in text

    assert sections(text) == [
        "How to use it", "Data", "Tokenizer", "Training", "Evaluation", "Receipt", "How to make it again", "Versions"
    ]  # fmt: skip
    told = rows(text)
    state = checkpoint["Text"]
    assert (told["optimizer steps"], told["tokens"]) == ("2", f"{2 * 4 * 32}")
    assert told["batch"] == "4 rows of 32 tokens a step"
    assert (told["learning rate"], told["precision"], told["depth"]) == ("0.0015", "32-true", "2")
    assert (told["source"], told["but not on all of it"]) == (texts.name, "limit_val_batches is 2")
    assert state["fingerprint"] in text and told["verdict"] == "passed"
    bits, loss, perplexity = map(float, logged(folder))
    assert told["loss (val/loss)"] == f"{loss:.4f} nats a token"
    assert (told["perplexity"], told["bits per byte"]) == (f"{perplexity:.2f}", f"{bits:.4f}")

    (recipe,) = blocks(text, "yaml")
    Path("recipe.yaml").write_text(recipe)
    Path("my_plugin.py").symlink_to(plugin)  # a second module of its name would be refused
    Path(texts.name).symlink_to(texts)
    code, _, errors = run("fit", "--config", "recipe.yaml")
    assert code == 0, errors
    assert logged(Path("runs/gpt-small/version_1")) == logged(folder)


def test_the_best_score_serves_where_the_folder_is_gone():
    callbacks = {
        "EarlyStopping{}": {"wait_count": 1},
        "BestAndLast{...}": {"monitor": "val/loss", "current_score": 2.0},
    }
    facts = facts_of({"global_step": 5, "state_dict": {}, "callbacks": callbacks})
    assert facts.evaluation["loss (val/loss)"] == "2.0000 nats a token"
    assert facts.evaluation["perplexity"] == "7.39"
    assert "bits per byte" not in facts.evaluation


def test_metrics_of_later_steps_are_not_those_of_the_checkpoint(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/loss,val/loss\n3,5.0,\n3,,4.0\n7,2.0,\n7,,1.0\n")
    facts = facts_of({"global_step": 4, "state_dict": {}}, tmp_path)
    assert facts.evaluation["loss (val/loss)"] == "4.0000 nats a token"
    assert facts.training["last training loss"] == "5.0000 nats a token"


def test_a_model_without_a_run_tells_no_more_than_is_known():
    checkpoint = {
        "state_dict": {"network.embedding.weight": torch.zeros(3, 4)},
        "lmkit": {"recipe": {"model": {"init_args": {"network": {"class_path": "Decoder", "init_args": {"dim": 4}}}}}},
    }
    facts = facts_of(checkpoint)
    assert (facts.shape, facts.training, facts.evaluation) == ({"dim": "4"}, {}, {})
    text = card(replace(facts, family="llama"))
    assert sections(text) == ["How to use it", "Recipe", "Versions"]
    assert "trust_remote_code" not in text and "lmkit fit" not in text and "None" not in text
    assert facts_of({"state_dict": {}}) == CardFacts(name="model")


def test_the_front_matter_is_what_the_hub_reads():
    plain = ModelCard(card(CardFacts("m", family="llama"))).data.to_dict()
    assert plain == {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["lmkit"]}
    facts = CardFacts("m", chat=True, license="My own (v1)")
    own = ModelCard(card(facts)).data.to_dict()
    assert own["tags"] == ["lmkit", "conversational", "custom_code"]
    assert (own["license"], own["license_name"]) == ("other", "my-own-v1")
    assert "No license was named" in card(CardFacts("m")) and "No license was named" not in card(facts)


def test_licenses_are_as_the_hub_knows_them():
    assert license_fields(None) == {}
    assert license_fields("MIT ") == {"license": "mit"}
    assert license_fields("openrail++") == {"license": "openrail++"}
    assert license_fields("ACME License 1.0") == {"license": "other", "license_name": "acme-license-1.0"}
    for nameless in ("", "other", " / "):
        with pytest.raises(UserError, match="give its name, such as apache"):
            license_fields(nameless)


@pytest.mark.parametrize("own_code", [False, True])
def test_the_code_of_a_card_runs(tmp_path, monkeypatch, capsys, own_code):
    made = exported(tmp_path / "model")
    settings = {"model_input_names": ["input_ids", "attention_mask"], "pad_token": "<|endoftext|>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made.tokenizer, **settings)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    tokenizer.save_pretrained(made.folder)
    text = card(CardFacts("m", family=None if own_code else "llama", chat=True, packages=("wanted",), context=100))
    assert "max_new_tokens=50, do_sample" in text  # the prompt has room beside the answer
    assert ("needs torch (2.11 or later), wanted and transformers" in " ".join(text.split())) == own_code
    assert text.count("trust_remote_code=True") == (2 if own_code else 0)
    monkeypatch.chdir(made.folder)
    names = {}
    for block in blocks(text, "python"):
        exec(block, names)
    assert names["written"].size(1) > names["inputs"]["input_ids"].size(1)
    assert capsys.readouterr().out.startswith("The")


def test_nothing_breaks_out_of_a_table_or_of_the_recipe():
    recipe = {"a": "```\n</details><script>", "b": "````"}
    text = card(CardFacts("m", family="llama", data={"source": "a|b\n<|endoftext|>"}, recipe=recipe))
    assert r"| source | a\|b \<\|endoftext\|\> |" in text
    (shown,) = re.findall(r"^`````yaml\n(.*?)^`````$", text, re.DOTALL | re.MULTILINE)
    assert yaml.safe_load(shown) == recipe


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/home/me/texts", "texts"),
        ("/home/Jane Doe/my texts/", "my texts"),
        ("~/texts/a.txt", "a.txt"),
        ("~me/texts", "texts"),
        (r"C:\Users\me\texts", "texts"),
        (r"\\server\me\texts", "texts"),
        ("file:///home/me/a.txt", "a.txt"),
        ("/home/me/corpus/**/*.txt", "**/*.txt"),
        ("tokenize --file=/home/me/a.txt --fast", "tokenize --file=a.txt --fast"),
        ("a, /home/me/b", "a, b"),
        ("texts/a.txt", "texts/a.txt"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("s3://key:secret@bucket/a, https://me@example.org/b", "s3://bucket/a, https://example.org/b"),
        ("s3://key:sec/r@et@bucket/a", "s3://bucket/a"),
        ("https://example.org/a.jsonl?token=secret, b", "https://example.org/a.jsonl, b"),
        ("https://me:you@example.org/a?X-Amz-Signature=abc", "https://example.org/a"),
        ("../../home/me/texts/a.txt", "a.txt"),
        ("x|/home/me/a.txt", "x|a.txt"),
        (r"\s+|\d", r"\s+|\d"),
        ("and/or </s> 1 / 2", "and/or </s> 1 / 2"),
        ("/", "/"),
        (3, 3),
        (None, None),
    ],
)
def test_absolute_paths_are_shown_by_their_last_part(given, shown):
    assert shortened({"a": [given, {"b": given}], given: 1}) == {"a": [shown, {"b": shown}], shown: 1}
