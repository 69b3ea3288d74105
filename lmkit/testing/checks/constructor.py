"""The signature is the configuration, and the docstring is its help."""

import inspect
import re

from lmkit.testing.given import EVERY
from lmkit.testing.results import Failed, counted
from lmkit.testing.subject import Subject
from lmkit.testing.suite import check


@check("constructor", EVERY, "take what the kind is given first, by position, then named and typed options")
def signature(subject: Subject) -> str | None:
    """What the network or the task gives comes first; every option has a name and a type."""
    given = len(subject.given)
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for number, parameter in enumerate(subject.parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise Failed(f"{parameter} hides options from recipes and help", do="write each option with name and type")
        if number < given and parameter.kind not in (named, parameter.POSITIONAL_ONLY):
            raise Failed(f"{parameter.name} cannot be given by position")
        if number >= given and parameter.kind is parameter.POSITIONAL_ONLY:
            raise Failed(f"the option {parameter.name} cannot be named", do="take the `/` out of the signature")
        if number >= given and parameter.annotation is parameter.empty:
            raise Failed(f"the option {parameter.name} has no type", do="annotate it, so that a recipe can be checked")
    options = subject.parameters[given:]
    needed = [option.name for option in options if option.default is option.empty]
    return counted(len(options), "option") + (f", needs {', '.join(needed)}" if needed else "")


@check("documented", EVERY, "describe it in the class docstring, under `Args:`, which --help prints")
def documented(subject: Subject) -> str | None:
    """The class says what it is, and what each parameter is."""
    owner = next(cls for cls in subject.cls.__mro__ if "__init__" in vars(cls))
    texts = [inspect.cleandoc(part.__doc__ or "") for part in (subject.cls, owner, vars(owner)["__init__"])]
    if not texts[0]:
        raise Failed("the class has no docstring", do="say in one line what it does, and where it comes from")
    entries = {name for text in texts for name in _entries(text)}
    missing = [parameter.name for parameter in subject.parameters if parameter.name not in entries]
    if missing:
        raise Failed(f"no word about {', '.join(missing)}")
    return counted(len(subject.parameters), "parameter")


def _entries(docstring: str) -> list[str]:
    """The names under `Args:` of a docstring in Google style."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    if section is None:
        return []
    indent = re.match(r"[ \t]+", section[1])
    start = indent[0] if indent else ""
    return re.findall(rf"^{start}(\w+)(?: \([^)]*\))?:", section[1], re.MULTILINE)
