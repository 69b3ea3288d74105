"""What the README says, run as it says it (its long command is among the slow tests of the task)."""

import re
import shlex

import pytest
import yaml

from lmkit.registry import classes
from lmkit.tasks import Task
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_its_python_runs_and_learns(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path))
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len([line for line in block.splitlines() if line]) <= 15
    exec(compile(block, "README.md", "exec"), {})
    losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines() if re.match(r"\d+ \d", line)]
    assert len(losses) == 20
    assert losses[-1] < losses[0] - 0.5


def commands(name):
    """Lines of the README that run a command, without their comments; those that go on in the next are one."""
    lines = re.findall(rf"^lmkit {name} .*$", README.replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


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
