"""A task of classification: what a text out of the standard library's documentation is about."""

from collections.abc import Iterator

from lmkit.data.rows.kinds import Row
from lmkit.data.rows.standard_library.areas import area
from lmkit.data.rows.standard_library.entries import entries
from lmkit.data.rows.standard_library.kind import OfStandardLibrary, checked
from lmkit.data.rows.standard_library.wording import within


class StandardLibraryLabels(OfStandardLibrary):
    """Docstrings of Python's standard library as `text`, and as `label` the area that their module is for: code,
    concurrency, data, files, interface, internet or text.

    What is held out are whole modules, so that words have to be understood; the name of what is documented is not told.

    Args:
        max_text: Characters; a longer docstring is shortened to whole paragraphs, or to whole sentences of its first.
    """

    def __init__(self, max_text: int = 600) -> None:
        self.max_text = checked(max_text, "max_text")

    def rows(self) -> Iterator[Row]:
        """Yields the labelled texts, each once, sorted by the modules' paths."""
        seen = set()
        for entry in entries():
            label, text = area(entry.module), within(entry.doc, self.max_text)
            if label and text not in seen:
                seen.add(text)
                yield Row({"text": text, "label": label}, entry.full, entry.group)
