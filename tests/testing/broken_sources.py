"""Sources that break the contract, each in one way."""

from hashlib import blake2b
from pathlib import Path

from lmkit.data.corpus import Document, InvalidText, Item, Source


class Lines(Source):
    """Is sound: each line of a file is a document; the others are made of it.

    Args:
        path: of the file.
        shouted: whether letters are large.
    """

    def __init__(self, path: str, shouted: bool = False) -> None:
        self.path, self.shouted = path, shouted

    def documents(self, invalid):
        with Path(self.path).open("rb") as file:
            for number, line in enumerate(file):
                text = invalid.decode(line)
                yield Document(f"{self.path}:{number}", text.upper() if self.shouted else text)

    def listing(self):
        stat = Path(self.path).stat()
        return [Item(self.path, stat.st_size, stat.st_mtime_ns)]


class BrokenHalves(Lines):
    """Yields half characters."""

    def documents(self, invalid):
        for document in super().documents(invalid):
            yield document._replace(text=document.text + "\ud83d")


class BrokenReadings(Lines):
    """Names documents by how often it was read."""

    times = 0

    def documents(self, invalid):
        self.times += 1
        for document in super().documents(invalid):
            yield document._replace(name=f"{document.name} {self.times}")


class BrokenDecode(Lines):
    """Leaves out what it cannot decode."""

    def documents(self, invalid):
        with Path(self.path).open(encoding="utf-8", errors="ignore") as file:
            for number, line in enumerate(file):
                yield Document(f"{self.path}:{number}", line)


class BrokenWhole(Lines):
    """Reads all before it yields any."""

    def documents(self, invalid):
        yield from [*super().documents(invalid)]


class BrokenGiven(Lines):
    """Gives a list."""

    def documents(self, invalid):
        return [*super().documents(invalid)]


class BrokenReadListing(Lines):
    """Reads the file to list it."""

    def listing(self):
        data = Path(self.path).read_bytes()
        return [Item(self.path, len(data), blake2b(data).hexdigest())]


class BrokenAsked(Lines):
    """Reads the documents to list them."""

    def listing(self):
        sizes = [len(document.text.encode()) for document in self.documents(InvalidText())]
        return [Item(self.path, sum(sizes), len(sizes))]


class BrokenVersion(Lines):
    """Lists the file by its name alone."""

    def listing(self):
        return [Item(self.path, 0, 0)]


class BrokenSourceKey(Lines):
    """Leaves its options out of its key."""

    def key(self):
        return self.listing()


class BrokenSourceOption(Source):
    """Keeps its option under another name.

    Args:
        size: number of documents.
    """

    def __init__(self, size: int = 3) -> None:
        self.number = size

    def documents(self, invalid):
        yield from (Document(str(number), f"text {number}") for number in range(self.number))

    def listing(self):
        return [Item("texts", 0, self.number)]


class BrokenOpen(Lines):
    """Keeps an open file.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.file = Path(__file__).open()  # noqa: SIM115

    def __del__(self):
        self.file.close()


class Picky(Lines):
    """Reads files of another kind only."""

    def documents(self, invalid):
        raise ValueError("no Parquet file")
        yield
