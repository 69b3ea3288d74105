"""The source, filter, chat template or row format under check: an option that has to name a file is given one of the
kit's, which goes again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmkit.data.chat_templates import ChatTemplate
from lmkit.data.conversations import RowFormat
from lmkit.data.corpus import Filter, Source
from lmkit.data.rows import RowSource
from lmkit.kinds import hints
from lmkit.testing.given import Size
from lmkit.testing.subject import Subject
from lmkit.testing.toys import aside

TEXT = "One text.\nIts second line.\n<|endoftext|>\nGrüße, 日本語 🙂\n<|endoftext|>\nThe last text of three.\n"
ROWS = """{"prompt": "What is 7 * 6?", "completion": "42, of course.", "id": 1}
{"prompt": "Größe, 日本語 🙂?", "completion": "Ja.\\nご挨拶", "id": 2}

{"prompt": [{"role": "user", "content": "And twice that?"}], "completion": "84.", "id": null}
"""
JINJA = """{% for message in messages %}
[{{ message.role }}] {% if message.role == 'assistant' %}
{% generation %}{{ message.content }}{{ eos_token }}{% endgeneration +%}
{% else %}
{{ message.content }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
[assistant] {% endif %}"""

FILES: dict[type, tuple[str, str]] = {
    Source: ("checked.txt", TEXT),
    Filter: ("checked.txt", TEXT),
    RowSource: ("checked.jsonl", ROWS),
    RowFormat: ("checked.jsonl", ROWS),
    ChatTemplate: ("checked.jinja", JINJA),
}
"""Name and content of the file, by kind."""


class FromFile(Subject):
    """A class of one of the kinds of `FILES`; see `Subject`."""

    _beside = False

    def make(self, size: Size | None = None, /, *first: Any, **changes: Any) -> Any:
        """A fresh one, beside its file."""
        with self.beside():
            return super().make(size, *first, **changes)

    @contextmanager
    def beside(self, content: str | bytes | None = None) -> Iterator[None]:
        """In a folder with the kit's file, or where we are if there is none; within itself it does nothing.

        Args:
            content: of the file; none for the usual one.
        """
        if self._beside:
            yield
            return
        with aside(stay=self.file is None) as folder:
            if self.file is not None:
                self.write(content or FILES[self.kind][1])
                (folder / self.other).write_text(FILES[self.kind][1] * 2, encoding="utf-8")
            self._beside = True
            try:
                yield
            finally:
                self._beside = False

    def write(self, content: str | bytes) -> None:
        """Writes the kit's file."""
        Path(FILES[self.kind][0]).write_bytes(content.encode() if isinstance(content, str) else content)

    @property
    def other(self) -> str:
        """The name of a second file beside that, of another content."""
        return f"other{Path(FILES[self.kind][0]).suffix}"

    @property
    def file(self) -> str | None:
        """The option that has to name a file; none if there is none, or its user has named it."""
        types = hints(self.cls)
        for parameter in self.parameters:
            fits = types.get(parameter.name) is Path or (
                types.get(parameter.name) is str and parameter.name in ("path", "file")
            )
            if fits and parameter.default is parameter.empty and parameter.name not in self.named:
                return parameter.name
        return None

    def _options(self, size: Size) -> dict[str, Any]:
        options = super()._options(size)
        if self.file is not None:
            options[self.file] = type(options[self.file])(FILES[self.kind][0])
        return options
