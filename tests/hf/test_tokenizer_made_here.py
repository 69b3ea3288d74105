import json
from dataclasses import asdict

import pytest
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM, pipeline

from lmkit.cli.generate import _parser
from lmkit.data import tokenizer as tokenizing
from lmkit.data.chat_templates import ChatML, Llama3, Plain
from lmkit.errors import UserError
from lmkit.hf.tokenizer_files import TokenizerFiles, of_any_class, read, write
from lmkit.hf.tokenizer_made_here import from_lmkit
from lmkit.inference import Sampler, complete
from tests.hf.toy_tokenizers import SHAPES, corpus, texts

transformers.logging.set_verbosity_error()

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " is the cat\n\non the mat? "},
    {"role": "assistant", "content": "it ran"},
    {"role": "user", "content": "<b>why</b> “so”"},
]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
CALL = [*TALK, {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": {}}}]}]


@pytest.fixture(scope="module")
def trained():
    tokenizer = tokenizing.train(iter(corpus()), 320)
    tokenizer.add_special_tokens([*ChatML.special_tokens, *Llama3.special_tokens])
    return tokenizer


def saved(folder, files):
    write(folder, files)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("model", [None, "gpt2", "llama", "qwen2", "mistral", "of-its-own"])
def test_transformers_sees_what_lmkit_generate_feeds(tmp_path, trained, model):
    if model:
        (tmp_path / "config.json").write_text(f'{{"model_type": "{model}"}}')
    after = saved(tmp_path, from_lmkit(trained, 0, context=64))
    fed = [[0, *trained.encode(text, add_special_tokens=False).ids] for text in texts()]
    read_as_text = after(texts(), split_special_tokens=True)["input_ids"]
    spelt = [any(token in text for token in after.all_special_tokens) for text in texts()]
    assert 0 < sum(spelt) < len(spelt)
    parsed = after(texts())["input_ids"]
    assert [ids for ids, special in zip(parsed, spelt, strict=True) if not special] == [
        ids for ids, special in zip(fed, spelt, strict=True) if not special
    ]
    assert read_as_text == fed
    assert [ids[1:] for ids in parsed] == after(texts(), add_special_tokens=False)["input_ids"]
    assert [after.decode(ids, skip_special_tokens=True) for ids in fed] == texts()
    assert after("a", "b")["input_ids"] == [0, *after("a")["input_ids"][1:], 0, *after("b")["input_ids"][1:]]
    assert (after.bos_token_id, after.eos_token_id, after.pad_token, after.unk_token) == (0, 0, None, None)
    assert (after.model_max_length, after.clean_up_tokenization_spaces) == (64, False)
    assert set(after("a")) == {"input_ids", "attention_mask"}
    assert after.get_vocab() == trained.get_vocab()
    after.save_pretrained(tmp_path / "again")
    assert AutoTokenizer.from_pretrained(tmp_path / "again")(texts())["input_ids"] == parsed


def test_special_tokens_are_parsed_as_such(tmp_path, trained):
    after = saved(tmp_path, from_lmkit(trained, 0, 64))
    for token in ("<|endoftext|>", "<|im_start|>", "<|eot_id|>"):
        number = trained.token_to_id(token)
        assert after(f"a{token}b", add_special_tokens=False)["input_ids"].count(number) == 1
        assert number not in trained.encode(f"a{token}b", add_special_tokens=False).ids
    assert set(after.all_special_tokens) >= {"<|endoftext|>", *ChatML.special_tokens, *Llama3.special_tokens}


def test_what_is_trained_with_stays_as_it_is(trained):
    before = trained.to_str()
    from_lmkit(trained, 0, 64, ChatML().text, ChatML.end_of_turn)
    assert trained.to_str() == before
    assert trained.encode_special_tokens


@pytest.mark.parametrize("kind", [ChatML, Llama3, Plain])
def test_transformers_renders_and_encodes_conversations_as_lmkit_does(tmp_path, trained, kind):
    chat = kind()
    files = from_lmkit(trained, 0, 64, chat.text, chat.end_of_turn, chat.special_tokens)
    after = saved(tmp_path, files)
    cases = [(TALK, None, False), (TALK, None, True), (TALK[1:3], None, False)]
    cases += [(TALK[1:], TOOLS, True), (CALL, TOOLS, False)] if kind is ChatML else []
    for messages, tools, prompt in cases:
        options = {"tools": tools, "add_generation_prompt": prompt}
        text = chat.render(messages, eos_token="<|endoftext|>", **options)
        assert after.apply_chat_template(messages, tokenize=False, **options) == text
        encoded = after.apply_chat_template(messages, return_dict=True, **options)["input_ids"]
        assert encoded == Tokenizer.from_str(files.tokenizer).encode(text, add_special_tokens=False).ids
    turn = trained.token_to_id(chat.end_of_turn) if chat.end_of_turn else 0
    assert (files.end_of_turn, files.stops) == (turn, list(dict.fromkeys([turn, 0])))
    marked = after.apply_chat_template(TALK, return_dict=True, return_assistant_tokens_mask=True)
    said = [number for number, on in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if on]
    assert after.decode(said).strip() == "it ran" + (chat.end_of_turn or "<|endoftext|>")


def test_the_files_read_back_are_those_made(tmp_path, trained):
    chat = ChatML()
    files = from_lmkit(trained, 0, 64, chat.text, chat.end_of_turn, chat.special_tokens)
    write(tmp_path, files)
    assert asdict(read(tmp_path)) == asdict(files)
    assert TokenizerFiles(**asdict(files)) == files
    assert of_any_class(files) == files


def test_a_pipeline_and_generation_take_the_folder(tmp_path, trained):
    files = from_lmkit(trained, 0, 64, ChatML().text, "<|im_end|>")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=tokenizing.vocab_size_used(trained), **size))
    model.save_pretrained(tmp_path)
    write(tmp_path, files)
    run = pipeline("text-generation", model=str(tmp_path))
    ids = run.preprocess("the cat")["input_ids"].tolist()
    assert ids == [[0, *trained.encode("the cat", add_special_tokens=False).ids]]
    found = run.model.generation_config
    assert found.eos_token_id == [trained.token_to_id("<|im_end|>"), 0]
    assert (found.bos_token_id, found.do_sample, found.temperature) == (0, True, 0.8)
    assert not found.top_k
    found.validate(strict=True)
    (said,) = run("the cat", max_new_tokens=4)
    assert said["generated_text"].startswith("the cat")
    assert GenerationConfig.from_pretrained(tmp_path).pad_token_id is None


def test_a_prompt_is_opened_as_lmkits_own_loop_opens_it(tmp_path, trained):
    """By the ids that a network is given, rather than by what this file says of them."""
    seen = []

    class Seen(Exception):
        pass

    class Network(torch.nn.Linear):
        context = 64

        def cache(self):
            return type("Cache", (), {"length": 0})()

        def forward(self, tokens, cache):
            seen.append(tokens.tolist())
            raise Seen

    with pytest.raises(Seen):
        next(complete(Network(1, 1), trained, 0, "the cat sat", Sampler()))
    assert saved(tmp_path, from_lmkit(trained, 0, 64))(["the cat sat"])["input_ids"] == seen[0]


def test_draws_are_those_of_lmkit_generate(trained):
    options = _parser().get_defaults()
    generation = from_lmkit(trained, 0, 64).generation
    assert (generation["temperature"], generation["top_k"] or None) == (options.temperature, options.top_k)
    assert (generation["top_p"], options.top_p) == (1.0, None)


def test_a_pad_token_is_named_where_there_is_one_of_its_own(tmp_path, trained):
    tokenizer = Tokenizer.from_str(trained.to_str())
    tokenizer.add_special_tokens(["<|pad|>"])
    files = from_lmkit(tokenizer, 0, 64)
    assert files.pad == "<|pad|>"
    after = saved(tmp_path, files)
    batch = after(["the cat sat on", "a"], padding=True)
    assert after.pad_token_id == tokenizer.token_to_id("<|pad|>") == files.generation["pad_token_id"] != 0
    assert [row[0] for row in batch["attention_mask"]] == [1, 1]
    assert sum(batch["attention_mask"][1]) == len(after("a")["input_ids"])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_foreign_tokenizer_opens_documents_as_it_did_in_training(tmp_path, shape):
    """Llama 3's own template would open them by a token that was never seen."""
    (tmp_path / "in").mkdir()
    read_in = read(SHAPES[shape](tmp_path / "in"))
    used = tokenizing.for_raw_text(Tokenizer.from_str(read_in.tokenizer), read_in.end_of_document)
    (tmp_path / "out").mkdir()
    files = from_lmkit(used, read_in.end_of_document, 64)
    after = saved(tmp_path / "out", files)
    plain = [text for text in texts() if "<" not in text]
    assert len(plain) > 20
    fed = [[read_in.end_of_document, *used.encode(text, add_special_tokens=False).ids] for text in plain]
    assert after(plain)["input_ids"] == fed
    assert (after.bos_token_id, after.eos_token_id) == (read_in.end_of_document,) * 2
    assert after.unk_token == read_in.unk
    assert read(tmp_path / "out") == files


def test_an_end_with_a_colon_in_its_name_opens_a_text(tmp_path):
    vocabulary = {symbol: number for number, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(False)
    tokenizer.add_special_tokens([AddedToken("<seed:eos>", special=True, normalized=False)])
    after = saved(tmp_path, from_lmkit(tokenizer, 256, 64))
    assert after("a")["input_ids"] == [256, vocabulary["a"]]


def test_what_a_template_writes_becomes_special_and_nothing_is_cut(tmp_path):
    tokenizer = tokenizing.train(iter(corpus()), 280)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in ChatML.special_tokens])
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=5)
    chat = ChatML()
    files = from_lmkit(tokenizer, 0, 64, chat.text, chat.end_of_turn, chat.special_tokens)
    held = json.loads(files.tokenizer)
    assert (held["truncation"], held["padding"]) == (None, None)
    after = saved(tmp_path, files)
    ids = after.apply_chat_template(TALK, return_dict=True)["input_ids"]
    assert len(ids) > 20
    assert "<|im" not in after.decode(ids, skip_special_tokens=True)
    assert set(ChatML.special_tokens) < set(after.all_special_tokens)
    assert len(after("the cat and the dog and the tree")["input_ids"]) > 5
    assert after("a")["input_ids"] == [0, tokenizer.token_to_id("a")]


def test_tokens_that_are_missing_are_named(trained):
    with pytest.raises(UserError, match=r"has no token <\|turn\|>, <\|go\|>, which the chat template writes"):
        from_lmkit(trained, 0, 64, "x", "<|turn|>", ("<|go|>",))
    with pytest.raises(UserError, match="the end of a document is token 999, but"):
        from_lmkit(trained, 999, 64)
