"""The receipt of an export: what is right passes, and every single thing that can be wrong is found and named."""

import json
import re
import shutil
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, dynamic_module_utils

from lmkit.data.tokenizer import END_OF_DOCUMENT, train
from lmkit.errors import UserError
from lmkit.hf.proof import questions, reader, receipt
from lmkit.hf.proof.comparing import follow
from lmkit.hf.proof.receipt import check
from lmkit.layers import Gated, RMSNorm, Rotary, SelfAttention
from lmkit.network import Decoder

V, T = 300, 160
TEXTS = ["the cat sat on the mat, and then\n\tthe dog ran under a very happy tree. " * 40, "def f(x):\n    return x"]


def exported(folder):
    """A folder as transformers writes it, and the network of lmkit with the same weights."""
    torch.manual_seed(0)
    config = LlamaConfig(V, 32, 48, 2, 4, 2, max_position_embeddings=T, eos_token_id=5)
    peer = LlamaForCausalLM(config)
    attention, feed_forward = partial(SelfAttention, kv_heads=2), partial(Gated, hidden=48)
    network = Decoder(V, T, 32, 2, 4, RMSNorm, Rotary, attention, feed_forward, tied=False).eval()

    def pairs():
        yield network.embedding, peer.model.embed_tokens
        yield network.norm, peer.model.norm
        yield network.head, peer.lm_head
        for block, layer in zip(network.blocks, peer.model.layers, strict=True):
            for mine, theirs in zip(["q", "k", "v", "out"], ["q_proj", "k_proj", "v_proj", "o_proj"], strict=True):
                yield getattr(block.attention, mine), getattr(layer.self_attn, theirs)
            for mine, theirs in zip(["gate", "up", "out"], ["gate_proj", "up_proj", "down_proj"], strict=True):
                yield getattr(block.feed_forward, mine), getattr(layer.mlp, theirs)
            yield block.attention_norm, layer.input_layernorm
            yield block.feed_forward_norm, layer.post_attention_layernorm

    with torch.no_grad():
        for mine, theirs in pairs():
            torch.nn.init.normal_(theirs.weight, std=0.3)
            mine.weight.copy_(theirs.weight)
    peer.save_pretrained(folder)
    tokenizer = train(iter(TEXTS), V)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return SimpleNamespace(folder=folder, network=network, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("sound") / "model")


@pytest.fixture
def folder(sound, tmp_path):
    """A copy to damage."""
    return shutil.copytree(sound.folder, tmp_path / "model")


@pytest.fixture
def in_process(monkeypatch, tmp_path):
    """Spares the fresh process, whose imports take seconds."""

    def run_reader(work):
        found = reader.answer(json.loads((work / "asked.json").read_text()), work)
        (work / "found.json").write_text(json.dumps(found))
        return ""

    monkeypatch.setattr(receipt, "run_reader", run_reader)
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))


def configure(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def reweigh(folder, change):
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})


def write_code(folder, text):
    """Modelling code of the folder's own."""
    (folder / "modeling.py").write_text(f"from transformers import LlamaConfig, LlamaForCausalLM\n{text}")
    configure(folder, auto_map={"AutoModelForCausalLM": "modeling.Own"}, architectures=["Own"])


@pytest.mark.slow
def test_a_sound_folder_passes_in_a_fresh_process(sound):
    found = check(sound.folder, sound.network, sound.tokenizer, TEXTS)
    assert found.passed, found.table()
    assert (found.model, found.continued, found.ties) == ("LlamaForCausalLM", 32, 0)
    assert (found.strings, found.alike) == (1000, 1000)
    sizes = {name: (difference.rows, difference.length) for name, difference in found.logits.items()}
    assert sizes == {"random tokens": (4, 128), "real tokens": (4, 128), "long row": (1, T), "with a cache": (1, 32)}
    assert all(0 <= difference.mean <= difference.largest < 1e-5 for difference in found.logits.values())
    assert found.passed
    lines = found.table().splitlines()
    assert len({line.index("  ") for line in lines if "real" in line or "verdict" in line}) == 2
    assert lines[-1].split() == ["verdict", "passed"]


@pytest.mark.slow
def test_a_folder_that_needs_lmkit_fails_in_the_fresh_process(sound, folder, monkeypatch):
    write_code(folder, "import lmkit.layers\nclass Own(LlamaForCausalLM): pass\n")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with pytest.raises(UserError, match=r"ModuleNotFoundError: the folder must work without lmkit") as raised:
        check(folder, sound.network, sound.tokenizer, TEXTS, own_code=True)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08"), "Safetensor"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "added_tokens"),
        (lambda folder: configure(folder, model_type="own", auto_map={"AutoConfig": "a.B"}), "contains custom code"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    ],
)
def test_a_folder_that_cannot_be_read_is_one_line_with_the_reason(sound, folder, damage, said):
    damage(folder)
    with pytest.raises(UserError, match=said) as raised:
        check(folder, sound.network, sound.tokenizer, TEXTS)
    assert "\n" not in str(raised.value)


def nudge(weights):
    weights["model.layers.1.mlp.down_proj.weight"][3, 5] += 0.1


def spoil(weights):
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.nan


def narrow(weights):
    weights["model.norm.weight"] = weights["model.norm.weight"][:-1].clone()


def other_rotation(folder):
    configure(folder, rope_parameters={"rope_type": "default", "rope_theta": 500.0})


def window(folder):
    configure(folder, model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=130)


def other_tokenizer(folder):
    tokenizer = train(iter(["another text, with other words: one two three four five " * 9]), V)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


LOSES_THE_PAST = """
class Own(LlamaForCausalLM):
    config_class = LlamaConfig
    def forward(self, input_ids, past_key_values=None, position_ids=None, **rest):
        if past_key_values is not None and past_key_values.get_seq_length():
            position_ids = input_ids * 0
        return super().forward(input_ids, past_key_values=past_key_values, position_ids=position_ids, **rest)
"""
STOPS_SHORT = """
class Own(LlamaForCausalLM):
    config_class = LlamaConfig
    def generate(self, tokens, **rest):
        made = super().generate(tokens, **rest)
        made.sequences, made.logits = made.sequences[:, :-3], made.logits[:-3]
        return made
"""


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: reweigh(folder, nudge), ["logits (random tokens) differ by ", "real tokens", "long row"]),
        (lambda folder: reweigh(folder, spoil), ["logits (random tokens) differ by nan"]),
        (other_rotation, ["logits (random tokens)", "logits (real tokens)", "logits (long row)"]),
        (window, ["logits (long row) differ by "]),
        (other_tokenizer, [" of 1,000 strings are tokenized otherwise, such as "]),
        (lambda folder: reweigh(folder, lambda w: w.pop("model.norm.weight")), ["missing keys: model.norm.weight"]),
        (lambda folder: reweigh(folder, lambda w: w.update(x=torch.zeros(2))), ["unexpected keys: x"]),
        (lambda folder: reweigh(folder, narrow), ["mismatched keys: ('model.norm.weight', torch.Size([31])"]),
        (
            lambda folder: write_code(folder, LOSES_THE_PAST),
            ["logits (with a cache) differ by ", " of the greedy continuation is "],
        ),
        (
            lambda folder: (folder / "chat_template.jinja").write_text("{% if %}"),
            ["the chat template cannot be read ("],
        ),
        (lambda folder: write_code(folder, STOPS_SHORT), ["the greedy continuation has 29 tokens in place of 32"]),
    ],
    ids=[
        "weight",
        "nan",
        "rotation",
        "window",
        "tokenizer",
        "missing",
        "unexpected",
        "shape",
        "cache",
        "template",
        "short",
    ],
)
def test_what_is_wrong_is_found_and_named(sound, folder, damage, said):
    damage(folder)
    found = check(folder, sound.network, sound.tokenizer, TEXTS, own_code=True)
    assert not found.passed
    for words in said:
        assert any(words in failure for failure in found.failures), found.failures
    assert found.table().splitlines()[-1].startswith("verdict") and "FAILED" in found.table()
    if damage is window:
        assert len(found.failures) == 1


def retokenize(folder, **held):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **held}))


OPENS = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"x": {"id": "x", "ids": [1], "tokens": ["x"]}},
}


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("held", "alike"),
    [
        ({"decoder": None}, range(1, 400)),
        ({"post_processor": OPENS}, range(1)),
        ({"added_tokens": []}, range(999, 1000)),
    ],
    ids=["turned back", "opened", "special"],
)
def test_tokens_count_both_ways_special_ones_and_what_opens_a_prompt(sound, folder, held, alike):
    retokenize(folder, **held)
    found = check(folder, sound.network, sound.tokenizer, TEXTS, opening=sound.tokenizer)
    assert not found.passed
    assert found.alike in alike
    if "post_processor" in held:
        assert check(folder, sound.network, sound.tokenizer, TEXTS).passed  # where that is not compared


@pytest.mark.usefixtures("in_process")
def test_logits_of_another_vocabulary_are_refused(sound, folder):
    reweigh(folder, lambda w: w.update({"lm_head.weight": torch.cat([w["lm_head.weight"], torch.zeros(4, 32)])}))
    reweigh(folder, lambda w: w.update({"model.embed_tokens.weight": torch.zeros(V + 4, 32)}))
    configure(folder, vocab_size=V + 4)
    with pytest.raises(UserError, match=rf"shape \(4, 128, {V + 4}\), the network \(4, 128, {V}\)"):
        check(folder, sound.network, sound.tokenizer, TEXTS)


@pytest.mark.usefixtures("in_process")
def test_generation_settings_of_the_folder_do_not_matter(sound, folder):
    """They are for those who talk to the model: the receipt compares the network."""
    settings = {"do_sample": True, "temperature": 9.0, "repetition_penalty": 5.0, "max_length": 40}
    asked = questions.questions(sound.network, sound.tokenizer, TEXTS)
    first, _ = reader.continued(LlamaForCausalLM.from_pretrained(folder), asked.prompt, 32)
    (folder / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": sorted(set(first))}))
    found = check(folder, sound.network, sound.tokenizer, TEXTS)
    assert found.passed, found.table()


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("texts", "said"), [(["the cat"], r"1 x \d tokens"), ([], "not compared: there were no texts")]
)
def test_few_texts_are_said(sound, texts, said):
    found = check(sound.folder, sound.network, sound.tokenizer, texts)
    assert found.passed and found.strings == 1000
    (line,) = (line for line in found.table().splitlines() if "real tokens" in line)
    assert re.search(said, line)


def test_a_tie_may_go_either_way_and_what_follows_is_compared(sound):
    network = exported(sound.folder.parent / "tied").network
    asked = questions.questions(network, sound.tokenizer, TEXTS)

    def followed(made):
        return follow(network, network(torch.tensor([asked.prompt + made]))[0, len(asked.prompt) - 1 : -1], made)

    def greedy(takes):
        tokens = list(asked.prompt)
        for _ in range(asked.steps):
            token = int(network.logits(network(torch.tensor([tokens])))[0, -1].argmax())
            tokens.append(takes.get(token, token))
        return tokens[len(asked.prompt) :]

    with torch.inference_mode():
        first = greedy({})[0]
        network.head.weight[V - 1] = network.head.weight[first]  # two tokens whose logits are always equal
        other = greedy({first: V - 1})
        assert followed(greedy({})) == (0, [])
        assert followed(other) == (other.count(V - 1), [])
        wrong = [(other[-1] + 1) % V if step == 31 else token for step, token in enumerate(other)]
        _, (said,) = followed(wrong)
    assert said.startswith(f"token 32 of the greedy continuation is {wrong[-1]}, but ")


def test_the_strings_are_of_many_kinds_and_spell_no_special_token(sound):
    made = questions.strings(sound.tokenizer, [f"a {END_OF_DOCUMENT} b" * 3])
    assert made == questions.strings(sound.tokenizer, [f"a {END_OF_DOCUMENT} b" * 3])
    assert len(made) == 1000 and len(set(made)) == 1000
    assert [text for text in made if END_OF_DOCUMENT in text] == [END_OF_DOCUMENT]  # by itself
    letters = {letter for text in made for letter in text}
    assert {ord(letter) >> 16 for letter in letters} == set(range(17))
    assert {chr(code) for code in range(32)} | {"\u200d", "\u0301", "\U0001f468", "\ufeff"} <= letters
    assert any("        " in text for text in made) and any(text.isdigit() for text in made)
    Tokenizer.encode_batch(sound.tokenizer, made)  # none holds a surrogate, which is no text


def test_the_long_row_is_as_long_as_is_cheap():
    with torch.device("meta"):
        assert questions.long_length(Decoder(50, 256, 32, 1, 2)) == 256
        assert questions.long_length(Decoder(50, 10**5, 32, 1, 2)) == questions.LONGEST
        assert questions.long_length(Decoder(2**18, 10**5, 32, 1, 2)) == questions.LOGITS // 2**18
        assert 100 < questions.long_length(Decoder(2**15, 10**5, 4096, 32, 32)) < 500


def test_a_row_shorter_than_the_context_says_so(sound):
    long = receipt.Difference(1, 100, 0.0, 0.0)
    found = receipt.Receipt("M", 128, {"long row": long}, 32, 0, 9, 9, (), {"transformers": "5"})
    assert "1 x 100 tokens of 128" in found.table()


def test_without_transformers_the_extra_is_named(sound, monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(receipt, "version", version)
    with pytest.raises(UserError, match=r"needs the package transformers: pip install 'lmkit\[hf\]'"):
        check(sound.folder, sound.network, sound.tokenizer, TEXTS)
