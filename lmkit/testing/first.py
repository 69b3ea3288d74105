"""The first documents or rows that a source gives: it may be of any size, so that no check reads more of it."""

from itertools import islice
from typing import Any

from lmkit.data.corpus import InvalidText, Source
from lmkit.data.rows import RowSource
from lmkit.testing.from_file import FromFile
from lmkit.testing.results import Failed, NotApplicable, clean, counted
from lmkit.testing.toys import generators, same_generators, seed

FIRST = 256
"""Documents or rows that are read at most."""


def stream(source: Source | RowSource) -> Any:
    """What a source gives."""
    return source.rows() if isinstance(source, RowSource) else source.documents(InvalidText())


def read(subject: FromFile, source: Source | RowSource, most: int = FIRST) -> list[Any]:
    """The first things that a source gives.

    Raises:
        NotApplicable: it cannot read what the kit has chosen for it.
    """
    found: list[Any] = []
    try:
        for thing in islice(stream(source), most):
            found.append(thing)
    except Exception as error:
        chosen = sorted(subject.options.keys() - subject.named.keys())
        if found or not chosen:
            raise
        raise NotApplicable(
            f"it cannot read what the kit gives it as {', '.join(chosen)} ({clean(error)}): name that by --options"
        ) from error
    return found


def same_again(subject: FromFile, thing: str) -> str:
    """Reads once more, after a reading that was left, by another source of the same options, and whatever the seeds.

    Raises:
        Failed: something else is read.
    """
    with subject.beside():
        source, runs = subject.make(), []
        for number, each in enumerate((source, source, subject.make())):
            seed(number)
            before = generators()
            read(subject, each, 1)
            runs.append(read(subject, each))
            if not same_generators(before, generators()):
                raise Failed("reading draws from a global random generator, or seeds it")
    for other in runs[1:]:
        if other != runs[0]:
            pairs = zip(runs[0], other, strict=False)
            place = next((n for n, (one, two) in enumerate(pairs, 1) if one != two), min(len(runs[0]), len(other)) + 1)
            raise Failed(f"read again, {thing} {place} is another one")
    return counted(len(runs[0]), thing)


def needs_own_file(subject: FromFile) -> None:
    """Goes on if the kit has given the source a file.

    Raises:
        NotApplicable: it has not.
    """
    if subject.file is None:
        raise NotApplicable("it has no option `path` that the kit could give a file of its own")
