"""Docstrings as prose: without the marks of their markup, in whole paragraphs, in sentences."""

import re
from collections.abc import Iterator

from lmkit.data.rows.standard_library.verbs import begins_with_verb

_ROLE = re.compile(r":[a-z]+(?::[a-z]+)*:`~?([^`<]+?)(?: <[^`>]*>)?`")  # :class:`Name`
_CODE = re.compile(r"``([^`\n]+(?:\n[^`\n]+)?)``")
_QUOTED = re.compile(r"``([^`'\n]+)''|`([^`'\n]+)'")  # ``as TeX does'' and `this'
_NOTICE = re.compile(r"^( *)\.\. (?:versionadded|versionchanged|deprecated|index|module|sectionauthor)::.*")
_DIRECTIVE = re.compile(r"^ *\.\. ?[\w-]+::.*\n?", re.M)
_RULE = re.compile(r"^[ ]*(?:([-=~^*_#+])\1{2,}[ ]*)+$", re.M)
_SENTENCE = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!cf\.)(?<!vs\.)(?<=[.!?])\s+(?=[A-Z]|[\"'`(<]\w)")
_ANNOUNCES = re.compile(r"[:,]\s*$|^\s|^[-*+] ")  # a paragraph that belongs to one after it, or before
_CONTROL = re.compile(r"[^\n\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")
_BEGINNING = re.compile(r"(?![^\n]* (?:=|[-=]+>) )(?:[\"'`(]?\w|\*\w)")  # no example, no list, no signature
_USAGE = re.compile(r"\A[a-z]\S*(?: [^\s\[]+){0,3}(?: ?\[.*)?(?<![.:,])\n+(?=[A-Z])")  # of a command, such as pdb's
_LOWER = {"a", "an", "the", "this", "true", "if", "called", "used"}  # first words that are no names
_TITLE = re.compile(r"(?:\w+\.)*(?P<name>\w+)(?:\.py)?(?:: | --? )(?=\w)")  # `runpy.py - locating modules`
_ASIDE = re.compile(
    r"\bCopyright\b|\(c\) |[Ww]ritten by|Author:|All [Rr]ights|E-mail:|@\w+\.(?:com|org|net)\b|"
    r"\b(?:XXX|TODO|FIXME)\b|\$Id\b"
)
"""In paragraphs for the author's own colleagues."""
_CALL = re.compile(
    r"(?:[\w.]+\.)?(?P<name>\w+)(?P<signature>\(.*?\))(?: *[-=]+> *(?P<result>.*?))?(?:(?:\.? *-- |: ?)(?P<said>.*))?"
)
_RESULT = re.compile(r"(\(.*\)|[^,]{,40})\.?")  # what a signature says it returns
_UNFIT = re.compile(r"[Uu]ndocumented|[Nn]ot documented|\b[Ii]nternal\b|\b[Pp]rivate\b|\$\w+:|@param")


def clean(doc: str, name: str, limit: int) -> tuple[str, str]:
    """A docstring as prose of whole paragraphs, and the signature that it began with; both empty where unfit.

    Args:
        doc: as `inspect.cleandoc` gives it.
        name: of what it describes, without what holds it, to know a signature by.
        limit: most characters; paragraphs from where it is passed are left out.
    """
    signature, doc = _apart(doc, name)
    doc = _without_notices(doc)
    doc = _DIRECTIVE.sub("", _RULE.sub("", doc))
    doc = _CODE.sub(r"`\1`", _ROLE.sub(r"`\1`", _QUOTED.sub(_as_quote, doc)))
    doc = re.sub(r"[ \t]+$", "", re.sub(r" ?::$", ":", doc, flags=re.M), flags=re.M)
    doc = "\n\n".join(part for part in paragraphs(doc) if not _ASIDE.search(part))
    doc = within(_once(re.sub(r"\n{3,}", "\n\n", doc).strip("\n")), limit)
    title = _TITLE.match(doc)
    doc = _USAGE.sub("", doc[title.end() :] if title and title["name"] == name else doc)
    if doc.partition(" ")[0] in _LOWER or begins_with_verb(doc):
        doc = doc[0].upper() + doc[1:]
    calls = filter(None, (_CALL.fullmatch(line.strip()) for line in doc.split("\n")))
    is_left = any(match["name"] == name and match["result"] for match in calls)
    return (doc, signature) if _is_prose(doc) and not is_left else ("", "")


def within(doc: str, limit: int) -> str:
    """The paragraphs that a limit of characters allows; where the first does not fit, its sentences that do, or one."""
    if len(doc) <= limit:
        return doc
    kept = list(_first(paragraphs(doc), limit, "\n\n"))
    while kept and _ANNOUNCES.search(kept[-1]):
        kept.pop()
    said = sentences(paragraphs(doc)[0])
    return "\n\n".join(kept) or " ".join(_first(said, limit, " ")) or said[0]


def paragraphs(doc: str) -> list[str]:
    """What blank lines set apart, with its indentation."""
    return doc.split("\n\n")


def sentences(text: str) -> list[str]:
    """The sentences of prose, each on one line."""
    return [" ".join(part.split()) for part in _SENTENCE.split(text.strip())]


def first_sentence(doc: str) -> str:
    """On one line, without the full stop."""
    return sentences(paragraphs(doc)[0])[0].rstrip(".")


def _is_prose(doc: str) -> bool:
    if not _BEGINNING.match(doc) or _UNFIT.search(paragraphs(doc)[0]) or _CONTROL.search(doc):
        return False
    return doc.count("`") % 2 == 0 and "``" not in doc


def _apart(doc: str, name: str) -> tuple[str, str]:
    """The signatures in the first lines, as in `pack(format, v1, ...) -> bytes`, the first of them, and the rest."""
    found, lines = "", doc.split("\n")
    while lines and (match := _CALL.fullmatch(lines[0].strip())) and match["name"] == name:
        result, said = match["result"] or "", match["said"] or ""
        if not said and (len(lines) == 1 or not _RESULT.fullmatch(result)):  # "-> v, remove the key and return its"
            said = re.sub(r"^(None\.\s+|\w+, |\(.*?\), )", "", result)
        found = found or match["signature"]
        is_open = result.count("(") > result.count(")")  # it goes on to the end of the paragraph
        lines[: (*lines, "").index("") if is_open else 1] = [said] if said and not is_open else []
    return found, "\n".join(lines).strip("\n")


def _without_notices(doc: str) -> str:
    """Leaves out what tells of versions, with the lines that are indented below it."""
    kept, inner = [], None
    for line in doc.split("\n"):
        if match := _NOTICE.match(line):
            inner = len(match[1])
        elif inner is not None and line.strip() and len(line) - len(line.lstrip()) <= inner:
            inner = None
        if inner is None:
            kept.append(line)
    return "\n".join(kept)


def _as_quote(match: re.Match[str]) -> str:
    return f'"{match[1] or match[2]}"'


def _once(doc: str) -> str:
    """Without the first paragraph where the next one begins by saying the same."""
    first, _, rest = doc.partition("\n\n")
    return rest if " ".join(rest.split()).startswith(" ".join(first.split()).rstrip(".")) else doc


def _first(parts: list[str], limit: int, between: str) -> Iterator[str]:
    for part in parts:
        limit -= len(part)
        if limit < 0:
            return
        yield part
        limit -= len(between)
