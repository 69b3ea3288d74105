"""The pages of docs/: every block of your-own-layer.md runs, and every link leads to a file."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import RECIPES, ROOT

PAGE = ROOT / "docs" / "your-own-layer.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]

# Runs the lines in a list of jobs, each in a child of its own: no class of one is known to the next, yet torch and
# Lightning are imported once.
DRIVER = """
import json, os, sys, traceback

import lmkit.cli.generate, lmkit.cli.trainer
from lmkit.cli.main import main

def python(parts):
    space = {"__name__": "__main__"}
    for line, text in parts:
        exec(compile("\\n" * line + text, "your-own-layer.md", "exec"), space)
    return 0

results = []
for number, (kind, what, paths) in enumerate(json.load(sys.stdin)):
    if (child := os.fork()) == 0:
        code = 70
        try:
            output = os.open(f"job-{number}.txt", os.O_CREAT | os.O_WRONLY)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.path[:0] = [os.getcwd(), *paths] if kind == "python" else paths
            code = python(what) if kind == "python" else main(what)
        except SystemExit as leaving:
            code = leaving.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(f"job-{number}.txt", errors="replace") as output:
        results.append([code, output.read()])
with open("results.json", "w") as file:
    json.dump(results, file)
"""


class Block(NamedTuple):
    """A fenced block: its language, its text, the number of its first line, and the file that it is, if any."""

    language: str
    text: str
    line: int
    file: str | None


class Command(NamedTuple):
    """A command line of a bash or console block, the line where it stands, and the output that is shown, if any."""

    text: str
    line: int
    shown: str | None


def blocks(page: str) -> list[Block]:
    found = []
    for fence in re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        file = re.match(r"# ([\w./-]+\.(?:py|yaml|toml))\n", fence[2])
        found.append(Block(fence[1], fence[2], page[: fence.start(2)].count("\n"), file[1] if file else None))
    return found


def commands(of: list[Block]) -> list[Command]:
    """The command lines of the blocks; a console block shows the output after each, from `$ ` to `$ `."""
    found = []
    for block in of:
        if block.language == "bash":
            joined = block.text.replace("\\\n", " ")
            found += [Command(line, block.line, None) for line in joined.splitlines() if line]
        elif block.language == "console":
            for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                line, _, output = part.partition("\n")
                found.append(Command(line, block.line, output.strip()))
    return found


def fits(shown: str, output: str) -> bool:
    """Whether the output has the shown lines; `...` stands for anything within a line."""
    pattern = ".*".join(re.escape(part) for part in shown.split("..."))
    return re.search(rf"^{pattern}$", output, re.MULTILINE) is not None


def install(package: Path, into: Path) -> None:
    """What `pip install` does with a package, without pip, which may be missing here."""
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(into)], cwd=package, check=True, capture_output=True)
    for wheel in into.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(into)


BLOCKS = blocks(PAGE.read_text(encoding="utf-8"))
COMMANDS = [command for command in commands(BLOCKS) if command.text.startswith("lmkit ")]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, toy: list[str]) -> list[tuple[int, str]]:
    """Exit code and output of the Python blocks, of each command, and of two blocks that are wrong."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(RECIPES, folder / "recipes")
    for block in BLOCKS:
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text)
    python = [(block.line, block.text) for block in BLOCKS if block.language == "python" and not block.file]
    jobs: list[tuple[str, object, list[str]]] = [("python", python, [])]
    installed: dict[int, list[str]] = {}  # by block, since the other blocks are shown as they are without it
    for command in commands(BLOCKS):
        if command.text.startswith("pip install "):
            (folder / "site").mkdir()
            install(folder / command.text.removeprefix("pip install "), folder / "site")
            installed[command.line] = [str(folder / "site")]
        elif command in COMMANDS:
            _, *arguments = shlex.split(command.text)
            toy_size = {"fit": toy, "generate": ["--count=4"]}.get(arguments[0], [])
            jobs.append(("lmkit", [*arguments, *toy_size], installed.get(command.line, [])))
        else:
            subprocess.run(command.text, shell=True, cwd=folder, check=True)
    jobs += [("python", [(0, "assert False, 'wrong'")], []), ("lmkit", ["fit", "-c", "recipes/nowhere.yaml"], [])]
    environment = os.environ | {"LMKIT_CACHE": str(tmp_path_factory.getbasetemp() / "cache"), "OMP_NUM_THREADS": "1"}
    driver = [sys.executable, "-c", DRIVER]
    subprocess.run(driver, input=json.dumps(jobs), text=True, cwd=folder, env=environment, check=True)
    return [(code, output) for code, output in json.loads((folder / "results.json").read_text())]


@pytest.mark.slow
def test_the_python_blocks_run_in_order(results):
    code, output = results[0]
    assert code == 0, output


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=[f"line {command.line + 1}" for command in COMMANDS])
def test_a_command_does_what_the_page_says(results, number):
    code, output = results[1 + number]
    shown = COMMANDS[number].shown
    if shown is None:
        assert code == 0, output
    else:
        assert code == 2, output
        assert fits(shown, output), output


def test_every_recipe_of_the_page_is_parsed_by_a_command():
    recipes = [block.file for block in BLOCKS if block.language == "yaml"]
    assert recipes
    for recipe in recipes:
        assert recipe is not None
        assert any(f"-c {recipe}" in command.text for command in COMMANDS), recipe


def test_the_plain_loop_has_at_most_15_lines():
    loop = next(block for block in BLOCKS if "for _ in range(30)" in block.text)
    assert len([line for line in loop.text.splitlines() if line]) <= 15


@pytest.mark.slow
def test_a_block_that_breaks_is_found(results):
    *_, python, command = results
    assert python[0] != 0
    assert "AssertionError: wrong" in python[1]
    assert command[0] == 2


def test_how_a_page_is_read():
    page = textwrap.dedent("""\
        Text.

        ```python
        # folder/part.py
        x = 1
        ```
        ```bash
        lmkit fit \\
          -c a.yaml
        ```
        ```console
        $ lmkit fit
        lmkit: error: no ... here
        $ lmkit fot
        two
        ```
        """)
    found = blocks(page)
    assert [(block.language, block.file, block.line) for block in found[:2]] == [
        ("python", "folder/part.py", 3),
        ("bash", None, 7),
    ]
    assert [(command.text.split(), command.shown) for command in commands(found)] == [
        (["lmkit", "fit", "-c", "a.yaml"], None),
        (["lmkit", "fit"], "lmkit: error: no ... here"),
        (["lmkit", "fot"], "two"),
    ]
    assert fits("lmkit: error: no ... here", "before\nlmkit: error: no recipe here\n")
    assert not fits("lmkit: error: no ... here", "lmkit: error: no recipe there\n")
    assert not fits("lmkit: error: no ... here", "lmkit: error: no\nhere\n")


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_to_files(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    broken = [
        target
        for target in targets
        if not re.match(r"[a-z]+:|#", target) and not (page.parent / target.partition("#")[0]).exists()
    ]
    assert not broken
