"""Template, a filter: write here what it removes, who proposed it, when, and under which arXiv number."""

from lmkit.data.corpus import Document, Filter, Rejected


class Template(Filter):
    """Takes out lines with one phrase and rejects documents with another, as C4 does (arXiv:1910.10683).

    Args:
        drop_lines: a line with this phrase, in whatever case, is taken out.
        drop_documents: a document with this phrase, in whatever case, does not stay.
    """

    def __init__(self, drop_lines: str = "javascript", drop_documents: str = "lorem ipsum") -> None:
        # Each option is kept under its own name: by them prepared texts are told apart.
        self.drop_lines, self.drop_documents = drop_lines, drop_documents

    def __call__(self, document: Document) -> Document | Rejected:
        """The document without those lines, or why it does not stay."""
        if self.drop_documents.lower() in document.text.lower():
            return Rejected(f"the phrase {self.drop_documents!r}")
        lines = document.text.splitlines(keepends=True)
        kept = [line for line in lines if self.drop_lines.lower() not in line.lower()]
        return document._replace(text="".join(kept))
