"""The floors of docs/architecture.md, read out of the imports: they point down, and nobody imports a plugin."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

FLOORS = (
    ("__init__", "errors", "extra"),
    ("layers", "data", "optim", "losses"),
    ("network", "registry", "transforms", "checkpoints"),
    ("tasks", "hf", "kinds", "inference", "testing", "ablation"),
    ("callbacks", "cli"),
)
"""The rooms of `lmkit/` (folders, and files at its top) from the ground up."""

NEIGHBOURS = {
    ("extra", "errors"),
    ("losses", "data"),
    ("checkpoints", "network"),
    ("checkpoints", "registry"),
    ("checkpoints", "transforms"),
    ("transforms", "network"),
    ("transforms", "registry"),
    ("tasks", "hf"),
    ("kinds", "tasks"),
    ("testing", "kinds"),
    ("testing", "tasks"),
    ("cli", "callbacks"),
}
"""What a room may import on its own floor: a package that is missing is a user's error, a loss knows the targets that
count for nothing, a checkpoint rebuilds a network and transforms it, a transform knows networks and tells near names, a
task starts from networks of others and is a kind, every kind is tested, in runs of a task, the command line puts
callbacks in."""

LIGHTNING = ("lightning", "pytorch_lightning")
FORBIDDEN = {
    "layers": (*LIGHTNING, "tokenizers", "torch.distributed"),
    "data": ("lmkit.network", "lmkit.layers"),
    **dict.fromkeys(("losses", "network", "optim", "registry", "transforms", "inference", "hf"), LIGHTNING),
}
"""Modules, with all below them, that a room must not import."""

LIGHT = ("lmkit", "lmkit.cli", "lmkit.cli.main")
"""What `lmkit --help` imports: nothing beyond the standard library, and no file that does."""


def violations(package: Path) -> list[str]:
    """What breaks the rules in a package called lmkit, one line each."""
    files = {_module(file, package): file for file in sorted(package.rglob("*.py"))}
    imports = {name: [*_imports(name, file, files)] for name, file in files.items()}
    found = []
    for name, targets in imports.items():
        for target, _ in targets:
            found += [f"{name} imports {target}: {why}" for why in _faults(name, target, files)]
    found += [f"{name} imports {target} when `lmkit --help` runs" for name, target in _heavy(imports, files)]
    try:
        graph = {name: {_file_of(target, files) for target, _ in targets} for name, targets in imports.items()}
        TopologicalSorter({name: {t for t in targets if t} for name, targets in graph.items()}).prepare()
    except CycleError as error:
        found.append(f"circle: {' -> '.join(reversed(error.args[1]))}")
    return found


def _module(file: Path, package: Path) -> str:
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, file: Path, files: dict[str, Path]) -> Iterator[tuple[str, bool]]:
    """Each name that a file imports, in full (`torch.Tensor`), and whether it does so when it is imported itself."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    later = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in later) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
                base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
            yield from ((f"{base}.{alias.name}", id(node) not in later) for alias in node.names)


def _file_of(target: str, files: dict[str, Path]) -> str | None:
    """The module of this package that an imported name lies in: the name itself, or what it is taken from."""
    while target and target not in files:
        target = target.rpartition(".")[0]
    return target or None


def _room(name: str) -> str:
    return [*name.split("."), "__init__"][1]


def _floor(room: str) -> int | None:
    return next((floor for floor, rooms in enumerate(FLOORS) if room in rooms), None)


def _faults(name: str, target: str, files: dict[str, Path]) -> Iterator[str]:
    """Why one import is wrong."""
    room = _room(name)
    if target.split(".", maxsplit=1)[0] in ("plugins", "lmkit_plugins"):
        yield "a recipe names a plugin, nobody imports it"
    if any(f"{target}.".startswith(f"{module}.") for module in FORBIDDEN.get(room, ())):
        yield f"{room} must not know it"
    if not target.startswith("lmkit."):
        return
    other = _room(_file_of(target, files) or target)
    here, there = _floor(room), _floor(other)
    if here is None or there is None:
        yield f"{room if here is None else other} is on no floor, add it to FLOORS"
    elif room != other and there >= here and (room, other) not in NEIGHBOURS:
        yield f"{room} (floor {here}) must not look at {other} (floor {there})"


def _heavy(imports: dict[str, list[tuple[str, bool]]], files: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """What the light files import from outside the standard library at once, themselves or through others."""
    waiting, seen = [name for name in LIGHT if name in files], set[str]()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for target, at_once in imports[name]:
            inside = _file_of(target, files)
            if at_once and inside and inside not in seen:
                waiting.append(inside)
            elif at_once and not inside and target.split(".")[0] not in sys.stdlib_module_names:
                yield name, target


def test_the_imports_keep_the_floors():
    assert violations(ROOT / "lmkit") == []


def test_every_room_of_the_floors_is_there():
    rooms = {file.relative_to(ROOT / "lmkit").with_suffix("").parts[0] for file in (ROOT / "lmkit").rglob("*.py")}
    assert rooms == {room for floor in FLOORS for room in floor}


def test_help_imports_no_torch():
    check = "import sys; from lmkit.cli.main import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, check=False).returncode == 0


SOUND = {
    "__init__.py": "__version__ = '0'",
    "errors.py": "",
    "layers/__init__.py": "from lmkit.layers.norms import Norm",
    "layers/norms.py": "import torch\nfrom torch import Tensor\nfrom lmkit.errors import UserError\nclass Norm: ...",
    "data/__init__.py": "",
    "data/text.py": "from lightning import LightningDataModule",
    "network/__init__.py": "from .decoder import Decoder",
    "network/decoder.py": "from lmkit.layers import Norm\nclass Decoder: ...",
    "checkpoints.py": "from lmkit.network import Decoder",
    "cli/__init__.py": "",
    "cli/main.py": "import sys\nfrom lmkit import __version__\ndef main():\n    import torch",
    "callbacks/__init__.py": "",
}


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / "lmkit" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "lmkit" / name).write_text(text)
    return folder / "lmkit"


def test_a_sound_tree_has_no_violation(tmp_path):
    assert violations(tree(tmp_path, SOUND)) == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("layers/a.py", "from lmkit.network import Decoder", "layers (floor 1) must not look at network (floor 2)"),
        ("layers/a.py", "def f():\n    from ..network.decoder import Decoder", "must not look at network"),
        ("layers/a.py", "from lmkit import checkpoints", "layers (floor 1) must not look at checkpoints (floor 2)"),
        ("network/a.py", "import lmkit.checkpoints", "network (floor 2) must not look at checkpoints (floor 2)"),
        ("callbacks/a.py", "from lmkit.cli.main import main", "callbacks (floor 4) must not look at cli (floor 4)"),
        ("data/a.py", "from lmkit.layers.norms import Norm", "data must not know it"),
        ("layers/a.py", "import lightning.pytorch as pl", "layers must not know it"),
        ("layers/a.py", "from torch import distributed", "layers must not know it"),
        ("layers/a.py", "from torch.distributed.tensor import DTensor", "layers must not know it"),
        ("layers/a.py", "from tokenizers import Tokenizer", "layers must not know it"),
        ("cli/a.py", "from plugins.differential_attention import DifferentialAttention", "nobody imports it"),
        ("peers/a.py", "import lmkit.errors", "peers is on no floor"),
        ("cli/main.py", "import torch", "lmkit.cli.main imports torch when"),
        ("cli/main.py", "if True:\n    from torch import nn", "lmkit.cli.main imports torch.nn when"),
        ("__init__.py", "from lmkit.errors import UserError\nimport jsonargparse", "lmkit imports jsonargparse when"),
        ("layers/norms.py", "from lmkit.layers import Norm", "circle: lmkit.layers"),
    ],
)
def test_a_violation_is_found(tmp_path, file, text, said):
    found = violations(tree(tmp_path, SOUND | {file: text}))
    assert any(said in line for line in found), found


def test_what_help_imports_is_followed_through_other_files(tmp_path):
    files = {"errors.py": "import torch", "cli/main.py": "from lmkit.errors import UserError"}
    assert violations(tree(tmp_path, SOUND | files)) == ["lmkit.errors imports torch when `lmkit --help` runs"]


def test_a_circle_of_three_files_is_found(tmp_path):
    files = {
        "data/a.py": "from lmkit.data import b",
        "data/b.py": "from lmkit.data.c import x",
        "data/c.py": "def f():\n    import lmkit.data.a",
    }
    (found,) = violations(tree(tmp_path, SOUND | files))
    assert found.startswith("circle: ")
    assert all(f"lmkit.data.{name}" in found for name in "abc")
