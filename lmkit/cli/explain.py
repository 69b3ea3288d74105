"""Turns a parser's message into one line: the key, what came, what is needed, and the near names.

jsonargparse reports the whole path of attempts through nested types. What the user needs is its innermost cause, which
is found here by its wording; a message of unknown wording is shortened to its innermost part.
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from pkgutil import resolve_name

from lmkit.cli.other_names import here
from lmkit.kinds import KINDS, hints, leaves
from lmkit.registry import classes, hint_of_failures, near, origin

BASES = tuple(kind.base for kind in KINDS.values())
ROOTS: dict[str, type] = {"model": KINDS["task"].base, "data": KINDS["data"].base, "callbacks": KINDS["callback"].base}


def explain(message: str, options: Iterable[str] = ()) -> str:
    """One line for a parser's message.

    Args:
        message: what the parser says.
        options: the option strings of the parser, to find the near ones of an unknown one.
    """
    text = " ".join(message.split())
    key = ".".join(re.findall(r'[Pp]arser key "([^"]+)"', text))
    if several := re.search(r"Multiple subclasses with name (\w+)[^:]*: *(.*?)(?: - |\. Got|$)", text):
        paths = several[2].rstrip(".")
        return f"{key}: several classes are called {several[1]} ({paths}): rename one, or give its whole path"
    if required := re.search(r"arguments? (?:are|is) required: ([\w.]*\w(?:, [\w.]*\w)*)", text):
        return _missing(key, required[1].split(", "))
    if more := re.search(r"[Uu]nrecognized arguments: (?!-)(\S+)", text):
        remedy = f"write --{more[1]}" if "=" in more[1] else "put an option's name before it, or leave it out"
        return f"{more[1]} is one word too many: {remedy}"
    if unknown := re.search(r"[Uu]nrecognized arguments: (?:--)?([^ =]+)|does not accept option '([^']+)'", text):
        name = unknown[1] or unknown[2]
        within = key and "Problem with given class_path" in text
        return _unknown_parameter(key, name.split(".")[0], text) if within else _unknown_option(f"--{name}", options)
    if rejected := re.search(r"Option '([^']+)' is not accepted", text):
        return _unknown_parameter(key, rejected[1], text)
    if name := re.search(r"Expected a dot import path string: ([\w.]*\w)|Unexpected import path format: (\S+)", text):
        return _unknown_class(key, name[1] or name[2], text)
    if wrong := re.search(r"'?([\w.]+)'? is not a subclass of", text):
        return _unknown_class(key, wrong[1].rsplit(".", 1)[-1], text)
    return _wrong_value(key, text)


def _missing(key: str, names: Sequence[str]) -> str:
    told = ", ".join(f"{key}.{name}" if key else name.split(".", 1)[-1] for name in names)
    if key in ("", "model", "model.network", "data") and re.search(r"\b(model|data)\b", told):
        return (
            f"{told} must be given: name a recipe, as in `--config recipes/gpt-small.yaml` (before one of "
            "recipes/adapters), or a network to start from, as in `--model.init_from=runs/gpt-small`"
        )
    return f"{told} must be given: {f'add --{told}=...' if key else '`--help` after the command says how'}"


def _unknown_class(key: str, name: str, text: str) -> str:
    kind = _kind_of(key.rsplit(".", 1)[-1])
    if kind is None:
        return f"{key} is {name}, which is no value that it may have and no class: correct it{hint_of_failures()}"
    known = classes(kind)
    places = {n: f"{n} ({origin(cls)})" for n, cls in sorted(known.items())}
    for other in BASES:
        if name in classes(other) and name not in known:
            needed, what = _with_article(kind), _with_article(other)
            return f"{key} needs {needed}, but {name} is {what}: choose {_either(places.values())}"
    if name in known and (asked := _asked(key.rsplit(".", 1)[-1], text)):
        return f"{key} needs {_with_article(asked)}, but {name} is none: see `lmkit plugins show {name}` for its place"
    told = f"{key}: no {kind.__name__} is called {name}{hint_of_failures()}"
    if close := near(name, known):
        meant = _either(places[n] for n in close)
        return f"{told}: did you mean {meant}? (a class of your own: add its file to `plugins`)"
    return f"{told}: choose {_either(places.values())}, or add a file to `plugins`"


def _asked(parameter: str, text: str) -> type | None:
    """What the parameter takes in the class that the parser could not make."""
    paths = re.findall(r"Problem with given class_path '([\w.]+)'", text)
    if not paths:
        return None
    return next((leaf.cls for leaf in leaves(hints(resolve_name(paths[-1])).get(parameter))), None)


def _with_article(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def _unknown_option(option: str, options: Iterable[str]) -> str:
    known = {*options}
    close = [found] if (found := here(option, known)) else near(option, known)
    remedy = f"did you mean {_either(close)}?" if close else "`--help` after the command lists all options"
    return f"no option {option}: {remedy}"


def _unknown_parameter(key: str, name: str, text: str) -> str:
    paths = re.findall(r"Problem with given class_path '([\w.]+)': Option", text)[-1:]
    paths = paths or re.findall(r"class_path='([\w.]+)'", text.partition("is not accepted")[2])[:1]
    paths = paths or re.findall(r"Problem with given class_path '([\w.]+)'", text)[-1:]
    if not paths:
        return f"{key} has no parameter {name}: correct its name"
    cls = paths[0].rpartition(".")[-1]
    names = [p for p in inspect.signature(resolve_name(paths[0])).parameters if p != "self"]
    close = near(name, names)
    remedy = f"did you mean {_either(close)}?" if close else f"{cls} has {', '.join(names)}"
    return f"{key}: {cls} has no parameter {name}: {remedy}"


def _kind_of(parameter: str) -> type | None:
    """The kind that a parameter of this name takes in any known class."""
    if parameter in ROOTS:
        return ROOTS[parameter]
    for kind in BASES:
        for cls in (kind, *classes(kind).values()):
            made = [leaf.cls for leaf in leaves(hints(cls).get(parameter))]
            if kinds := [k for k in BASES if k in made]:
                return kinds[-1]
    return None


def _wrong_value(key: str, text: str) -> str:
    """Says what a value may be: the types and words that the parser tried, and then what came."""
    tried = re.findall(r"Expected an? <class '([\w.]+)'>", text)
    words = re.findall(r"Literal\[([^]]*)\]", text)
    value = re.search(r"Got value: (.+?)(?:\.? Got value| - Expected|$)", text) or re.search(
        r"Given value: (.+?)(?: - Expected| Given value|$)", text
    )
    needed = [*dict.fromkeys(w for group in words for w in group.split(", ")), *dict.fromkeys(tried)]
    needed = [n for n in needed if n != "NoneType"]
    if not needed or value is None:
        cause = re.split(r'[Pp]arser key "[^"]+":', text)[-1]
        return f"{key}: {cause}".lstrip(": ")
    came = re.sub(r"^NestedArg\(key='[^']*', val=(.*)\)$", r"\1", value[1].rstrip("."))
    if within := re.findall(rf"\b{key.rsplit('.', 1)[-1]}=(.+?)(?:, \w+=|\)+$)", came):
        came = within[-1]
    return f"{key} is {came}, but it must be {_either(needed)}: correct its value"


def _either(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
