"""What the standard library documents: each public function, class and method once, with how it is called."""

import builtins
import keyword
import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from lmkit.data.corpus import docstrings, standard_library
from lmkit.data.rows.standard_library.parsed import Module, parse
from lmkit.data.rows.standard_library.public import PublicNames, by_name, twin
from lmkit.data.rows.standard_library.wording import clean, first_sentence
from lmkit.data.split import last_held_out

MIN_CHARACTERS, MAX_CHARACTERS = 40, 1500  # of a docstring
MAX_CALL = 200
SAME_LETTERS = 200
_OF_WRAPPERS = tuple(f"{what}(function)" for what in ("staticmethod", "classmethod"))  # not of what is wrapped


class Entry(NamedTuple):
    """Something that is documented.

    Attributes:
        kind: module, function, class, exception, method, bound (a method that is called on its class) or property.
        module: by which it is imported.
        name: within the module, such as `Struct.pack`; empty for the module itself.
        call: a line of code that calls it; empty where its signature is not known, or it is not called.
        doc: its docstring as prose, from 40 to 1500 characters.
        is_only: whether nothing else that is public at the top of a module has its name.
        group: the document of the pretraining corpus that it is in; of several, the one that is held out last.
    """

    kind: str
    module: str
    name: str
    call: str
    doc: str
    is_only: bool
    group: str

    @property
    def full(self) -> str:
        """Its name with that of its module, but for what is built in."""
        return ".".join(part for part in (self.module, self.name) if part and part != "builtins")


@cache
def entries() -> list[Entry]:
    """All of them in a fixed order: by the path of the module's source, then those written in C by name."""
    modules = by_name(_modules())
    public = PublicNames(modules)
    documents: dict[str, set[str]] = {}
    homes: dict[str, set[str]] = {}
    found: dict[tuple[str, str], tuple[Entry, str]] = {}
    for module in modules.values():
        for entry in module.entries:
            top, dot, rest = entry.name.partition(".")
            home, name = public.find(module.name, top) or ("", "")
            name += dot + rest
            key = (home, name) if home else (twin(module.name), entry.name)
            for mark in (f"{key[0]}.{key[1]}", _mark(entry.doc)):
                documents.setdefault(mark, set()).add(module.text)
            if home and not dot:
                homes.setdefault(name, set()).add(home)
            if home and key not in found and (made := _entry(entry, home, name)):
                found[key] = made, _mark(entry.doc)
    return [entry._replace(is_only=len(homes.get(entry.name, ())) == 1) for entry in _unique(found, documents)]


def _modules() -> Iterator[Module]:
    """Those with a source, sorted by its path, then those without, sorted by name."""
    for document in standard_library.sources():
        if module := parse(*document):
            yield module
    for name, compiled in sorted(standard_library.compiled_modules().items()):
        aliases = tuple(f"{entry.name}." for entry in compiled.entries if entry.kind == "alias")
        own = [entry for entry in compiled.entries if not f"{entry.name}.".startswith(aliases)]
        # What bytes do is told again of str, which a user is more likely to ask about.
        own.sort(key=lambda entry: entry.name.startswith("byte"))
        yield Module(name, compiled.text, own, [], None)


def _entry(entry: docstrings.Entry, module: str, name: str) -> Entry | None:
    """The entry without its group; none where its docstring is no text to learn from."""
    if any(part.startswith("_") for part in name.split(".")) or entry.doc.startswith(_OF_WRAPPERS):
        return None
    doc, signature = clean(entry.doc, name.rpartition(".")[2] or module, MAX_CHARACTERS)
    if not MIN_CHARACTERS <= len(doc) <= MAX_CHARACTERS or len(first_sentence(doc)) < 10:
        return None
    made = Entry(entry.kind, module, name, "", doc, False, "")
    return made._replace(call=_call(made, entry.signature or signature))


def _call(entry: Entry, signature: str) -> str:
    """A line that calls it: a method on an object called as its class, such as `thread.join(timeout=None)`."""
    wait, signature = ("await ", signature[6:]) if signature.startswith("await ") else ("", signature)
    on, name = entry.full, ""
    if entry.kind == "method":
        cls, name = entry.name.split(".")[-2:]
        on, name = instance(cls), f".{name}"
    line = f"{wait}{on}{name}{signature}"
    is_plain = re.fullmatch(r"\(.*\)", signature) and "=<" not in signature
    return line if is_plain and len(line) <= MAX_CALL and entry.kind != "property" else ""


def instance(cls: str) -> str:
    """What an object of a class is called: `http_connection` for `HTTPConnection`, `s` for `str`."""
    if cls.islower() and len(cls) < 10:
        return cls[0]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls).lower()
    taken = keyword.iskeyword(words) or hasattr(builtins, words) or words in {cls, *sys.stdlib_module_names}
    return f"my_{words}" if taken else words


def _mark(doc: str) -> str:
    """By what docstrings are one that would be one answer when they are shortened: letters of the first paragraph."""
    first = doc.partition("\n\n")[0]
    return re.sub(r"\W+", "", first if len(first) >= MIN_CHARACTERS else doc).lower()[:SAME_LETTERS]


def _unique(found: dict[tuple[str, str], tuple[Entry, str]], documents: dict[str, set[str]]) -> Iterator[Entry]:
    """Of docstrings that begin alike the first, with the group of all documents in which such a one or its name is."""
    seen = set()
    for (module, name), (entry, mark) in found.items():
        if (said := _mark(entry.doc)) not in seen:
            seen.add(said)
            yield entry._replace(group=last_held_out(documents[f"{module}.{name}"] | documents[mark]))
