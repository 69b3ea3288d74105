"""`lmkit plugins new`: writes a file with a class of a kind that works as it stands, for its author to change."""

import keyword
import os
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from lmkit.cli.plugins.describe import find_classes, usable, where_from
from lmkit.cli.plugins.options import parse, parser_of
from lmkit.cli.plugins.snippet import usage
from lmkit.errors import UserError
from lmkit.kinds import KINDS, find_kind, load
from lmkit.registry import try_plugins

TEMPLATES = resources.files("lmkit.cli.plugins") / "templates"


def run(arguments: Sequence[str]) -> None:
    """Writes the file, and prints what to type next.

    Raises:
        UserError: there is no such kind, the name will not do, or the file is there.
    """
    parser = parser_of("new", "Writes a file with a class that works as it stands, to be changed.")
    parser.add_argument("kind", type=str, help=f"one of {', '.join(KINDS)}")
    parser.add_argument("name", type=str, help="the class's name, such as MyNorm")
    parser.add_argument("--out", type=str | None, default=None, help="the file, or its folder; none: my_norm.py here")
    options, plugins = parse(parser, arguments)
    base = find_kind(options.kind).base
    load(plugins)
    template = (TEMPLATES / f"{options.kind}.py").read_text(encoding="utf-8")
    check_name(options.name, base, template)
    path = _path(options.name, options.out)
    _write(path, re.sub(r"\bTemplate\b", options.name, template))
    try_plugins([*plugins, str(path)])
    print(_next(options.kind, options.name, path))


def check_name(name: str, base: type, template: str) -> None:
    """Looks whether a class can be called so.

    Raises:
        UserError: it cannot.
    """
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) or keyword.iskeyword(name):
        better = "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z][A-Za-z0-9]*", name))
        usual = better if better and not keyword.iskeyword(better) else "MyNorm"
        raise UserError(
            f"the name is {name!r}, but a class is named by letters and digits, each word with a capital: "
            f"choose one such as {usual}"
        )
    for cls in usable(base):
        if cls.__name__ == name:
            raise UserError(f"a {base.__name__} is called {name} already ({where_from(cls)}): choose another name")
    if re.search(rf"\b{name}\b", template):
        raise UserError(f"the name {name} is used for something else in the file itself: choose another, as My{name}")


def file_name(name: str) -> str:
    """The name of the file of a class: `my_norm.py` of `MyNorm`, `rms_norm2.py` of `RMSNorm2`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower() + ".py"


def _path(name: str, out: str | None) -> Path:
    """The file to write: the one that is named, or one in the folder that is."""
    path = Path(out or "")
    if path.is_dir() or (out and out.endswith("/")):
        path /= file_name(name)
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise UserError(f"--out is {out}: give a file such as {file_name(name)}, or a folder")
    return path


def _write(path: Path, text: str) -> None:
    """Writes a file whole or not at all, and never over another.

    Raises:
        UserError: there is one, or it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise UserError(f"{path} is there already, and stays as it is: choose another file by --out")
        partial.write_text(text, encoding="utf-8")
        partial.rename(path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}): choose another place by --out") from error
    finally:
        partial.unlink(missing_ok=True)


def _next(kind: str, name: str, path: Path) -> str:
    """What was written, and what to type next."""
    cls = next(cls for found, cls in find_classes(name) if found == kind)
    return (
        f"{path} holds the class {name}, which works as it stands: change what it computes, and say in its docstring\n"
        f"what it is and where it comes from.\n\n{usage(cls, kind)}\n\nNext:\n"
        f"  lmkit plugins check {path}\n"
        f"  lmkit plugins show {name} --plugins={path}"
    )
