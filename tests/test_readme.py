"""What the README says, run as it says it (its long command is among the slow tests of the task)."""

import re

import yaml

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_its_python_runs_and_learns(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path))
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len(block.splitlines()) <= 18
    exec(compile(block, "README.md", "exec"), {})
    losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines() if re.match(r"\d+ \d", line)]
    assert len(losses) == 20
    assert losses[-1] < losses[0] - 0.5


def test_its_commands_parse_and_run_at_toy_size(run, toy, monkeypatch):
    monkeypatch.chdir(ROOT)
    commands = re.findall(r"^lmkit (fit --config .*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(commands) >= 7
    for command in commands:
        options = [word for word in command.split() if "my_texts" not in word]
        if "--ckpt_path" in options:
            continue  # tests/cli/test_fit.py resumes
        code, _, errors = run(*options, *toy, "--trainer.fast_dev_run=true")
        assert code == 0, errors


def test_the_test_command_is_what_ci_runs():
    assert 'pip install -q -e ".[test]" && pytest' in (ROOT / ".ci/run").read_text()
    assert 'pip install -e ".[test]" && pytest' in README


def test_every_recipe_is_listed():
    for path in (ROOT / "recipes").glob("*.yaml"):
        assert f"recipes/{path.name}" in README
        assert yaml.safe_load(path.read_text())["model"]["class_path"] == "Pretraining"
