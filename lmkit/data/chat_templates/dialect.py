"""The Jinja in which chat templates are written, as transformers runs it, and where a text was made by the assistant.

Sandboxed, so that a template of unknown origin can neither change what it is given nor reach Python. Beyond Jinja it
has `break` and `continue`, `raise_exception(message)`, `strftime_now(format)`, a `tojson` that escapes no HTML, and
`{% generation %}` ... `{% endgeneration %}` around what the assistant says.

transformers finds the assistant's text by counting what was written before a block, which is wrong within a macro, and
misses a block that comes first. Here a block writes a mark at either end, and the marks are taken out again; a second
text made without them tells where they have changed anything else.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MARKS = "the marks of generation"
"""The variable that holds the two marks; no template can spell it, because of the spaces."""


class Marked(NamedTuple):
    """A text, and which of it is the assistant's.

    Attributes:
        text: the conversation.
        spans: start and end of what the assistant says, in characters, the end not included; in order, without overlap.
    """

    text: str
    spans: tuple[tuple[int, int], ...]


class MarksLost(TemplateError):
    """A template that does something else with a generation block than to write it."""


class Generation(Extension):
    """`{% generation %}`: what it holds is a scope of its own, as in transformers."""

    tags = {"generation"}  # noqa: RUF012 (as its base has it)

    def parse(self, parser: Parser) -> nodes.Node:
        """A call of `between`, with what the block holds."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("between", [nodes.ContextReference()])
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def between(self, context: Context, caller: Callable[[], str]) -> str:
        """What the block writes, between the marks if there are any."""
        opening, closing = context.get(MARKS, ("", ""))
        return f"{opening}{caller()}{closing}"


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = _to_json
    made.globals["raise_exception"] = _raise_exception
    return made


ENVIRONMENT = _environment()


@lru_cache(maxsize=64)
def compiled(text: str) -> Template:
    """A template, compiled once.

    Raises:
        TemplateSyntaxError: it is not Jinja.
        SyntaxError: `break` or `continue` leaves a generation block.
    """
    return ENVIRONMENT.from_string(text)


@lru_cache(maxsize=64)
def tells_generation(text: str) -> bool:
    """Whether a template has a generation block."""
    used = ENVIRONMENT.parse(text).find_all(nodes.ExtensionAttribute)
    return any(attribute.identifier == Generation.identifier for attribute in used)


def render(text: str, values: Mapping[str, Any]) -> str:
    """What a template writes."""
    return compiled(text).render({"strftime_now": datetime.now().strftime} | dict(values))


def mark(text: str, values: Mapping[str, Any]) -> Marked:
    """What a template writes, and which of that its generation blocks wrote.

    Raises:
        MarksLost: the blocks' text was cut, counted or turned round after it was made.
    """
    values = {"strftime_now": datetime.now().strftime} | dict(values)  # one time for both texts
    plain = render(text, values)
    opening, closing = islice((letter for letter in map(chr, range(0xE000, 0xF900)) if letter not in plain), 2)
    pieces = re.split(f"([{opening}{closing}])", render(text, {**values, MARKS: (opening, closing)}))
    spans, start, at, depth = list[tuple[int, int]](), 0, 0, 0
    lost = "".join(pieces[::2]) != plain
    for piece in pieces:
        if piece == opening:
            start, depth = (at if depth == 0 else start), depth + 1
        elif piece == closing:
            depth -= 1
            if depth == 0 and at > start:
                spans.append((start, at))
            lost |= depth < 0
        else:
            at += len(piece)
    if lost or depth:
        raise MarksLost("what a generation block wrote is changed afterwards")
    return Marked(plain, tuple(spans))
