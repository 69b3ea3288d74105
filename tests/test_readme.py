"""What the README says, and the page on post-training, run as they say it (the README's long command is among the slow
tests of the task).
"""

import contextlib
import io
import json
import random
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from lmkit.cli.main import main
from lmkit.registry import classes
from lmkit.tasks import Task
from tests.conftest import ROOT, WORDS

README = (ROOT / "README.md").read_text()
POST_TRAINING = (ROOT / "docs/post-training.md").read_text()
KEPT = ("recipes/adapters/lora.yaml", "recipes/classify.yaml")
"""Recipes of runs of the page on post-training that later commands of it use."""


@pytest.mark.slow
def test_its_python_runs_and_learns(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path))
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len([line for line in block.splitlines() if line]) <= 15
    exec(compile(block, "README.md", "exec"), {})
    losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines() if re.match(r"\d+ \d", line)]
    assert len(losses) == 20
    assert losses[-1] < losses[0] - 0.5


def commands(name, page=README):
    """Lines of a page that run a command, without their comments; those that go on in the next are one."""
    lines = re.findall(rf"^lmkit {name} .*$", page.replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


def within_sentences(name, page):
    """The same of those that stand in a sentence."""
    return [shlex.split(line)[1:] for line in re.findall(rf"`(lmkit {name} [^`]*)`", page)]


@pytest.mark.slow
def test_its_commands_parse_and_run_at_toy_size(run, toy, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = commands("fit --config")
    assert len(found) >= 7
    for command in found:
        options = [word for word in command if "my_texts" not in word]
        if "--ckpt_path" in options or "imported" in " ".join(options):
            continue  # below
        code, _, errors = run(*options, *toy, "--trainer.fast_dev_run=true")
        assert code == 0, errors


@pytest.mark.slow
def test_what_it_does_with_a_run(run, toy, tmp_path):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    assert run(*commands("fit --config")[0], *toy)[0] == 0
    (resume,) = (command for command in commands("fit --config") if "--ckpt_path" in command)
    following = [[*resume, "--trainer.max_steps=3"], *commands("validate"), *commands("predict")]
    assert len(following) == 3
    for command in following:
        code, _, errors = run(*command, *(option for option in toy if option.partition("=")[0] not in command[-1]))
        assert code == 0, errors
    texts = [command for command in commands("generate") if "imported" not in command]
    assert len(texts) == 2
    for command in texts:
        code, out, errors = run(*command, "--count=4")
        assert code == 0, errors
        assert command[command.index("--prompt") + 1] in out


@pytest.mark.slow
def test_a_run_goes_to_hugging_face_and_back(run, toy, tmp_path):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    assert run("fit", "--config", "recipes/llama-small.yaml", *toy)[0] == 0
    own = [option for option in toy if "network" not in option and "vocab_size" not in option]
    (start,) = (command for command in commands("fit --config") if "imported" in " ".join(command))
    (text,) = (command for command in commands("generate") if "imported" in command)
    (file,) = (command for command in commands("export") if "gguf" in command)
    following = [
        *(c for c in commands("export") if "gguf" not in c),
        *commands("import"),
        [*text, "--count=4"],
        [*start, *own],
    ]
    assert len(following) == 4
    for command in [*following, file]:
        code, _, errors = run(*command)
        assert code == 0, errors


def texts_of_all_kinds():
    """Writes into the current folder what the page on post-training calls one's own."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    draw = random.Random(0)

    def words(count):
        return " ".join(draw.choices(WORDS, k=count))

    asked = [f"{number} {words(5)}" for number in range(80)]
    talks = [[{"role": "user", "content": q}, {"role": "assistant", "content": words(8)}] for q in asked]
    pairs = [{"prompt": q, "chosen": words(6), "rejected": words(7)} for q in asked]
    labelled = [{"text": q, "label": draw.choice(["good", "bad"])} for q in asked]
    for name, rows in (
        ("chats.jsonl", [{"messages": talk} for talk in talks]),
        ("pairs.jsonl", pairs),
        ("answers.jsonl", [{"prompt": q, "completion": words(6), "label": len(q) % 2 == 0} for q in asked]),
        ("texts.jsonl", labelled),
        ("new.jsonl", labelled[:9]),
    ):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    renamed = [{"question": row.pop("prompt"), **row} for row in pairs]
    parquet.write_table(arrow.Table.from_pylist(renamed), "pairs.parquet")


@pytest.fixture(scope="module")
def assistant(toy, texts, tmp_path_factory):
    """A folder in which the README's script from a base model to an assistant has run, in two steps each, the options
    that make a run so short, and what was said in the chat.
    """
    (block,) = re.findall(r"^## From base model to assistant\n\n```bash\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    script = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    assert [command[0] for command in script] == ["fit", "fit", "fit", "chat"]
    folder, said = tmp_path_factory.mktemp("assistant"), io.StringIO()
    (folder / "recipes").symlink_to(ROOT / "recipes")
    (folder / "texts").symlink_to(texts)
    short = [option for option in toy if option.startswith(("--trainer.", "--model.schedule."))]
    base = [*toy, "--model.network.context=256"]  # as long as the rows of the recipes after it
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        for command in script[:3]:
            options = base if "recipes/gpt-small.yaml" in command else short
            assert main([*command, *options]) == 0, command
        patch.setattr("sys.stdin", io.StringIO("What does json.loads do?\n"))
        with contextlib.redirect_stdout(said):
            assert main([*script[3], "--count=4", "--seed=1"]) == 0
    return folder, short, said.getvalue()


@pytest.mark.slow
def test_a_base_model_becomes_an_assistant(assistant):
    folder, _, said = assistant
    for name in ("gpt-small", "sft", "dpo"):
        assert (folder / f"runs/{name}/version_0/checkpoints/best.ckpt").is_file()
    assert said.endswith("\n")
    assert said.strip()


@pytest.mark.slow
def test_what_the_page_on_post_training_says_runs_at_toy_size(run, toy, assistant, monkeypatch):
    """In its order, and the README's runs before; those that no later command uses are only tried."""
    folder, short, _ = assistant
    shutil.copytree(folder, ".", symlinks=True, dirs_exist_ok=True)
    texts_of_all_kinds()
    sentences = within_sentences("fit -c", POST_TRAINING)
    assert [command[2] for command in sentences] == ["recipes/kto.yaml", "recipes/distill.yaml"]
    found = [*commands("fit -c"), *sentences, *commands("(?:fit|predict|chat|generate|export)", POST_TRAINING)]
    assert len(found) >= 20
    names = set()
    for command in found:
        if "runs/other" in command:
            shutil.copytree("runs/sft/version_1", "runs/other/version_0")
        more = {"fit": short, "predict": short, "generate": ["--count=4"], "chat": ["--count=4"]}.get(command[0], [])
        if "recipes/gpt-small.yaml" in command:
            more = toy
        if command[0] == "fit" and not any(recipe in command for recipe in KEPT):
            more = [*more, "--trainer.fast_dev_run=true"]
        monkeypatch.setattr("sys.stdin", io.StringIO("the cat\n"))
        code, _, errors = run(*command, *more)
        assert code == 0, (command, errors)
        names |= {word for word in command if word.endswith(".yaml")}
    assert names >= {f"recipes/{name}.yaml" for name in ("gpt-small", "sft", "dpo", "kto", "distill", "classify")}
    assert len(list(Path().glob("runs/classify/*/predictions.jsonl"))) == 1


@pytest.mark.parametrize("page", [README, POST_TRAINING], ids=["README", "post-training"])
def test_every_recipe_that_a_command_names_is_there(page):
    found = [*commands("fit", page), *commands("predict", page), *within_sentences("fit", page)]
    named = [word for command in found for word in command if word.endswith(".yaml")]
    assert len(named) >= 7
    for word in named:
        assert (ROOT / word).is_file(), word


def test_its_commands_about_plugins_run(run):
    found = commands("plugins")
    assert [command[1] for command in found] == ["list", "show", "new", "check", "check"]
    for command in found:
        code, _, errors = run(*command)
        assert code == 0, errors


def test_the_test_command_is_what_ci_runs():
    assert 'pip install -q -e ".[test]" && pytest' in (ROOT / ".ci/run").read_text()
    assert 'pip install -e ".[test]" && pytest' in README


def test_every_recipe_is_listed():
    for path in (ROOT / "recipes").glob("*.yaml"):
        assert f"recipes/{path.name}" in README
        assert yaml.safe_load(path.read_text())["model"]["class_path"] in classes(Task)
