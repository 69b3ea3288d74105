"""Template, a source: write here where its texts come from, and under which terms."""

from collections.abc import Iterator
from pathlib import Path

from lmkit.data.corpus import Document, InvalidText, Item, Source
from lmkit.errors import UserError


class Template(Source):
    """The texts of one file, which lines of their own part, as TinyStories (arXiv:2305.07759) is given out.

    Args:
        path: of the file.
        separator: the line between two texts.
    """

    def __init__(self, path: str, separator: str = "<|endoftext|>") -> None:
        if not separator.strip():
            raise UserError("separator is empty: give the line that stands between two texts")
        # Each option is kept under its own name: by them prepared texts are told apart.
        self.path, self.separator = path, separator

    def documents(self, invalid: InvalidText) -> Iterator[Document]:
        """Yields one text after the other, of which only one is held."""
        mark, number, lines = self.separator.strip().encode(), 0, list[bytes]()
        with self._file().open("rb") as file:
            for line in file:
                if line.strip() != mark:
                    lines.append(line)
                    continue
                yield Document(f"{self.path}:{number}", invalid.decode(b"".join(lines)))
                number, lines = number + 1, []
        yield Document(f"{self.path}:{number}", invalid.decode(b"".join(lines)))

    def listing(self) -> list[Item]:
        """The file's size and time: once they change, its texts are prepared anew."""
        stat = self._file().stat()
        return [Item(self.path, stat.st_size, stat.st_mtime_ns)]

    def _file(self) -> Path:
        file = Path(self.path)
        if not file.is_file():
            raise UserError(f"no file {file}: give the path of one as the source's path")
        return file
