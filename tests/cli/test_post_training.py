"""From a base model to an assistant: `lmkit fit` on conversations and preferences, and `lmkit chat`."""

import contextlib
import io
import json
import math
import random
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from lmkit.checkpoints import read
from lmkit.cli.main import main
from tests.cli.test_fit import rows
from tests.conftest import RECIPES, WORDS

SMALL = [
    "--data.context=64",
    "--data.batch_size=4",
    "--model.schedule.warmup=1",
    "--trainer.max_steps=4",
    "--trainer.val_check_interval=2",
    "--trainer.precision=32-true",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=1",
]
SFT = ["fit", "-c", RECIPES / "sft.yaml", *SMALL, "--data.source=chats.jsonl"]
DPO = ["fit", "-c", RECIPES / "dpo.yaml", *SMALL, "--data.source=pairs.jsonl"]


def written(name, values):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in values))


@pytest.fixture(scope="session")
def trained(toy, tmp_path_factory):
    """A folder with a base model, an assistant made of it, conversations and pairs."""
    draw = random.Random(0)

    def words(count):
        return " ".join(draw.choices(WORDS, k=count))

    asked = [f"{number} {words(5)}" for number in range(60)]
    talks = [[{"role": "user", "content": q}, {"role": "assistant", "content": words(8)}] for q in asked]
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        written("chats.jsonl", [{"messages": talk} for talk in talks])
        written("pairs.jsonl", [{"prompt": q, "chosen": words(6), "rejected": words(7)} for q in asked])
        for arguments in (["fit", "-c", RECIPES / "gpt-small.yaml", *toy], SFT):
            assert main([str(argument) for argument in arguments]) == 0
    return folder


@pytest.fixture
def base(run, trained):
    """Runs `lmkit` where these are."""
    shutil.copytree(trained, ".", dirs_exist_ok=True)
    return run


def losses(name):
    return [float(value) for value in rows(f"runs/{name}/version_0")[0].values()]


def test_a_base_model_becomes_an_assistant_that_prefers(base, monkeypatch):
    code, out, errors = base(*DPO)
    assert code == 0, errors
    assert "accuracy" in out
    assert "perplexity" not in out
    assert "lmkit chat runs/dpo/version_0" in out
    assert losses("dpo")[0] == pytest.approx(math.log(2), abs=1e-6)  # the model is its own reference at first
    kept = read("runs/dpo/version_0/checkpoints/last.ckpt")["lmkit"]
    assert kept["chat"]["template"]["end_of_turn"] == "<|endoftext|>"  # as SFT's recipe had it written
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat\n\n/what\n/clear\nwhy\n/exit\nnever\n"))
    code, out, errors = base("chat", "runs/dpo", "--count=4", "--seed=1")
    assert code == 0, errors
    assert "no command /what" in errors
    assert out.count("\n") >= 2


def test_a_runs_own_recipe_needs_neither_the_cache_nor_where_it_started(base, tmp_path, monkeypatch):
    shutil.rmtree("runs/gpt-small")
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "another"))
    code, out, errors = base("predict", "-c", "runs/sft/version_0/config.yaml", "--ckpt_path=runs/sft")
    assert code == 0, errors
    assert "predictions.jsonl" in out


def test_what_is_said_in_other_bytes_is_told(base, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), "utf-8", "surrogateescape"))
    code, _, errors = base("chat", "runs/sft", "--count=3")
    assert (code, errors.strip().splitlines()[-1]) == (
        2,
        r"lmkit: error: what was said is 'caf\udce9\n', whose bytes are not UTF-8: give it in UTF-8",
    )


def test_a_network_without_conversations_does_not_chat(base):
    code, _, errors = base("chat", "runs/gpt-small")
    assert code == 2
    assert "has learned no conversations" in errors


@pytest.mark.slow
@pytest.mark.parametrize("learned", ["all", "last"])
def test_more_or_less_of_a_conversation_is_learned(base, learned):
    code, out, errors = base(*SFT, f"--data.train_on={learned}", "--name=other")
    assert code == 0, errors
    assert "It writes:" in out


@pytest.mark.slow
def test_how_conversations_are_written_stays_where_text_is_learned_after_them(base, toy, monkeypatch):
    text = ["fit", "-c", RECIPES / "gpt-small.yaml", *toy, "--name=text", "--data.context=64"]
    code, _, errors = base(*text, "--model.init_from=runs/sft", "--model.network.context=64")
    assert code == 0, errors
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat\n"))
    code, _, errors = base("chat", "runs/text", "--count=4")
    assert code == 0, errors


@pytest.mark.slow
def test_tokens_of_a_template_are_learned_and_exported(base, caplog):
    code, _, errors = base(*SFT, "--data.template=ChatML", "--name=chatml")
    assert code == 0, errors
    assert "vocab_size of 300 becomes 320" in caplog.text
    code, _, errors = base("export", "runs/chatml", "chatml-hf")
    assert code == 0, errors
    tokenizer = AutoTokenizer.from_pretrained("chatml-hf")
    talk = [{"role": "user", "content": "the cat"}]
    text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n"
    settings = json.loads(Path("chatml-hf/generation_config.json").read_text())
    assert settings["eos_token_id"] == [tokenizer.convert_tokens_to_ids("<|im_end|>"), 0]
    assert settings.get("pad_token_id") is None
    code, _, errors = base(*DPO, "--model.init_from=chatml-hf", "--name=next")
    assert code == 0, errors
    assert read("runs/next/version_0/checkpoints/last.ckpt")["lmkit"]["chat"]["template"]["end_of_turn"] == "<|im_end|>"


@pytest.mark.slow
def test_an_adapter_that_learned_new_tokens_talks_beside_its_base(base, monkeypatch):
    adapter = ["--data.template=ChatML", "--model.transforms=[LoRA]", "--model.init_from=runs/gpt-small"]
    code, _, errors = base(*SFT, *adapter, "--name=lora")
    assert code == 0, errors
    told = []
    for command in (["runs/lora"], ["runs/gpt-small", "--adapter=runs/lora"]):
        monkeypatch.setattr("sys.stdin", io.StringIO("the cat\n"))
        code, out, errors = base("chat", *command, "--count=8", "--seed=1")
        assert code == 0, errors
        told.append(out)
    assert told[0] == told[1]
    code, _, errors = base("generate", "runs/gpt-small", "--adapter=runs/lora", "--count=4")
    assert code == 0, errors


@pytest.mark.slow
def test_each_example_is_told_by_its_row_whatever_the_task(base):
    kto = ["fit", "-c", RECIPES / "kto.yaml", *SMALL, "--data.source=pairs.jsonl"]
    for recipe, name, file in ((SFT, "sft", "chats"), (DPO, "dpo", "pairs"), (kto, "kto", "pairs")):
        command = [*recipe, "--data.validation_fraction=0.3"]
        if name != "sft":
            code, _, errors = base(*command)
            assert code == 0, errors
        code, _, errors = base("predict", *command[1:], "--ckpt_path=last", "--data.workers=2")
        assert code == 0, errors
        (path,) = Path().glob(f"runs/{name}/*/predictions.jsonl")
        given = [json.loads(line) for line in Path(f"{file}.jsonl").read_text().splitlines()]
        told = [json.loads(line) for line in path.read_text().splitlines()]
        places = [int(row["row"].removeprefix(f"{file}.jsonl, row ")) - 1 for row in told]
        assert places == sorted(places)
        assert len(places) == len({*places}) * (1 if name == "sft" else 2)
        for row, place in zip(told, places, strict=True):
            if name == "sft":
                asked, wanted = (message["content"] for message in given[place]["messages"])
            else:
                asked, wanted = given[place]["prompt"], given[place][row["role"]]
            assert asked in row["prompt"]
            assert row["text"] == wanted


@pytest.mark.slow
@pytest.mark.parametrize("adapted", [False, True], ids=["full", "LoRA"])
def test_every_reference_gives_the_same_run(base, caplog, adapted):
    more = ["--model.transforms=[LoRA]", "--model.transforms.rank=4"] if adapted else []
    found = {}
    for reference in ("Stored", "FrozenCopy", *(["AdaptersOff"] if adapted else [])):
        code, _, errors = base(*DPO, *more, f"--model.reference={reference}", f"--name={reference}")
        assert code == 0, errors
        found[reference] = losses(reference)
    for values in found.values():
        assert values == pytest.approx(found["Stored"], abs=1e-6)
    caplog.clear()
    code, _, errors = base(*DPO, *more, "--name=again")
    assert code == 0, errors
    assert "log-probabilities of" not in caplog.text  # they are in the cache
    assert losses("again") == found["Stored"]
    if not adapted:
        code, _, errors = base(*DPO, "--model.reference=AdaptersOff", "--name=none")
        assert code == 2
        assert "AdaptersOff needs a network with adapters" in errors


@pytest.mark.slow
@pytest.mark.parametrize("command", [SFT, DPO], ids=["sft", "dpo"])
def test_a_run_goes_on_exactly(base, command):
    longer = ["--trainer.max_steps=8", "--model.schedule=Constant", "--name=whole"]
    command = [option for option in command if "max_steps" not in str(option) and "warmup" not in str(option)]
    assert base(*command, *longer)[0] == 0
    assert base(*command, *longer[1:2], "--name=part", "--trainer.max_steps=4")[0] == 0
    code, _, errors = base(*command, *longer[1:2], "--name=part", "--trainer.max_steps=8", "--ckpt_path=last")
    assert code == 0, errors
    assert losses("part") == losses("whole")


def test_rows_that_cannot_be_used_are_left_out_and_told(base):
    good = [json.loads(line) for line in Path("chats.jsonl").read_text().splitlines()]
    bad = [
        {"messages": [{"role": "assistant", "content": "I begin"}, {"role": "user", "content": "no"}]},
        {"messages": [{"role": "user", "content": "a question"}, {"role": "assistant", "content": ""}]},
        {"messages": [{"role": "judge", "content": "order"}, {"role": "assistant", "content": "yes"}]},
        {"talk": 1},
    ]
    written("chats.jsonl", [*good[:30], *bad, *good[30:], bad[1]])
    code, _, errors = base(*SFT, "--trainer.fast_dev_run=true")
    assert code == 0, errors
    for line in ("row 31", "2 rows left out, first", "row 32", "row 33", "row 34"):
        assert line in errors
    code, _, errors = base(*SFT, "--data.strict=true")
    assert code == 2
    assert "row 31" in errors
    assert not Path("runs/sft/version_1").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data.source=none.jsonl"], "none.jsonl"),
        (["--data.template=ChatLM"], "ChatLM"),
        (["--data.columns={question: prompt}"], "question"),
        (["--data.context=4"], "a row takes 4: give a longer data.context"),
        (["--model.init_from=nothing"], "nothing is at nothing to start from"),
    ],
)
def test_a_mistake_gets_one_line(base, options, said):
    code, _, errors = base(*SFT, *options)
    assert code == 2, errors
    (line,) = [line for line in errors.splitlines() if line.startswith("lmkit: error: ")]
    assert said in line


def test_pairs_whose_answers_are_all_equal_leave_nothing_to_learn(base):
    written("pairs.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "b"}] * 3)
    code, _, errors = base(*DPO)
    assert code == 2
    assert (
        "no row of pairs.jsonl is left: 3 rows left out, first pairs.jsonl, row 1: chosen and rejected are equal"
        in errors
    )


@pytest.mark.slow
def test_a_run_goes_on_beside_the_reference_that_it_began_with(base):
    """Though another run has taken the name that it started from; and it does not where that reference is gone."""
    command = [*DPO, "--model.init_from=runs/sft", "--name=on"]
    assert base(*command)[0] == 0
    began = Path("runs/sft/version_0")
    assert base(*SFT, "--data.seed=1")[0] == 0
    assert Path("runs/sft/version_1").exists()
    longer = [*command, "--trainer.max_steps=6", "--ckpt_path=last"]
    last = "runs/on/version_0/checkpoints/last.ckpt"
    told = read(last)["reference"]
    assert base(*longer)[0] == 0
    assert read(last)["reference"] == told
    assert Path(told["path"]).is_relative_to(began.resolve())
    shutil.rmtree(began)
    code, _, errors = base(*longer, "--trainer.max_steps=8")
    assert code == 2
    assert f"the run compares with the network that was in {told['path']}, which is gone" in errors


def test_a_reference_that_no_loss_asks_for_is_told(base):
    code, _, errors = base(*DPO, "--model.preference_loss=SimPO", "--model.reference=FrozenCopy")
    assert code == 2
    assert "SimPO compares with no reference, but model.reference is FrozenCopy: leave that out" in errors


@pytest.mark.slow
def test_new_tokens_that_an_adapter_leaves_as_they_begin_are_warned_of(base):
    short = ["--trainer.max_steps=1", "--trainer.val_check_interval=1", "--data.template=ChatML"]
    said = "LoRA leaves the new tokens' rows of the embedding as they begin"
    code, out, errors = base(*SFT, *short, "--model.transforms=[LoRA]")
    assert code == 0, errors
    assert said in errors
    also = "--model.transforms=[{class_path: LoRA, init_args: {also: ['embedding.*']}}]"
    code, out, errors = base(*SFT, *short, also)
    assert code == 0, errors
    assert said not in out + errors


def test_a_run_that_goes_on_says_that_its_base_is_gone(base):
    code, _, errors = base(*SFT, "--model.init_from=runs/gone", "--ckpt_path=last")
    assert code == 2
    assert "nothing is at runs/gone to start from" in errors
