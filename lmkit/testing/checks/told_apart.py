"""What tells prepared texts apart: class and options of the sources, filters and formats that made them, as data."""

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from lmkit.data.conversations import RowFormat
from lmkit.data.corpus import Document, Filter, Source
from lmkit.data.corpus.identity import identity
from lmkit.data.rows import RowSource
from lmkit.kinds import hints, leaves
from lmkit.testing.first import read
from lmkit.testing.from_file import FromFile
from lmkit.testing.results import Failed, counted
from lmkit.testing.suite import check


@check(
    "told apart",
    (Source, Filter, RowSource, RowFormat),
    "keep each option as it came, in the attribute of its name",
)
def told_apart(subject: FromFile) -> str | None:
    """The key is the same for the same options, also after use, and another one once an option is changed."""
    with subject.beside():
        one = subject.make()
        _use(subject, one)
        key = _key(subject.make())
        if key != _key(subject.make()):
            raise Failed("two of the same options have other keys", do="tell what decides the texts only")
        if key != _key(one):
            raise Failed("its key is another one after it was used", do="change no option in the midst")
        changed = [name for name in _names(subject) if _changes(subject, name, key)]
    return f"{counted(len(changed), 'option')} changed"


def _key(part: Any) -> str:
    """As the cache has it."""
    key = part.key() if isinstance(part, Source | RowSource) else identity(part)
    try:
        return json.dumps(key)
    except (TypeError, ValueError) as error:
        raise Failed("its key is no plain data, as JSON holds it", do="make it of lists, texts and numbers") from error


def _use(subject: FromFile, part: Any) -> None:
    if isinstance(part, Source | RowSource):
        read(subject, part, 4)
        return
    if isinstance(part, RowFormat):
        part(part.row)
        return
    for text in ("One text.", "Another\ntext.", "Another\ntext."):
        part(Document("the kit's", text))


def _names(subject: FromFile) -> list[str]:
    return [parameter.name for parameter in subject.parameters]


def _changes(subject: FromFile, name: str, key: str) -> bool:
    """Whether an option could be given another value.

    Raises:
        Failed: it could, and the key stays.
    """
    default = next(parameter.default for parameter in subject.parameters if parameter.name == name)
    value = subject.options.get(name, default)
    for other in [subject.other] if name == subject.file else _others(value, hints(subject.cls).get(name, Any)):
        try:
            found = _key(subject.make(**{name: type(value)(other) if name == subject.file else other}))
        except Exception:  # a value that it does not take
            continue
        if found == key:
            raise Failed(f"with {name} {other!r} in place of {value!r} its key is the same")
        return True
    return False


def _others(value: Any, hint: Any) -> Iterator[Any]:
    """Other values that an option might have."""
    if value is None:
        known = [leaf.cls for leaf in leaves(hint)]
        yield from (other for cls, other in ((int, 1000), (float, 0.5), (str, "other"), (bool, True)) if cls in known)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value - 1, value / 2, value * 2)[: 2 if isinstance(value, int) else 4]
    elif isinstance(value, str) and get_origin(hint) is Literal:
        yield from (word for word in get_args(hint) if word != value)
    elif isinstance(value, str):
        yield value + "x"
    elif isinstance(value, list | tuple | set | frozenset):
        first, *rest = [*value] or [""]
        yield from (type(value)([other, *rest]) for other in _others(first, Any))
