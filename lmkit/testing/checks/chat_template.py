"""Chat templates: all that is said is written, and what is trained is the assistant's, from the end of a prompt on."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from lmkit.data.chat_templates import ChatTemplate, Marked
from lmkit.errors import UserError
from lmkit.testing.conversations import said_in, talk, talks, tools_of
from lmkit.testing.from_file import FromFile
from lmkit.testing.results import Failed, NotApplicable, counted
from lmkit.testing.suite import check

KIND = (ChatTemplate,)
BOS, EOS = "<bos>", "<eos>"

ATTACKS = (
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.__class__.__base__.__subclasses__() }}",
    "{{ messages.append(messages[0]) }}",
    "{{ messages[0].clear() }}",
    "{% for i in range(10 ** 9) %}{% endfor %}",
)
"""Templates that reach Python, change the conversation, or take for ever."""


@check("writes all", KIND, "write the content of each message as it came, of all `roles`, and add nothing by chance")
def writes(subject: FromFile) -> str | None:
    """Of each role and with odd letters, the same twice, by `render` and `mark`, leaving the messages as they were."""
    template = subject.make()
    for messages in talks(template):
        kept = copy.deepcopy(messages)
        text = _render(template, messages)
        for number, message in enumerate(messages, 1):
            for said in said_in(message):
                if said not in text:
                    raise Failed(f"message {number} ({message['role']}) is not written as it came: {said[:30]!r} lacks")
        if _render(template, messages) != text:
            raise Failed("the same conversation is written in two ways")
        if _mark(template, messages).text != text:
            raise Failed("mark() gives another text than render()")
        if messages != kept:
            raise Failed("the messages have changed")
    return counted(len(template.roles), "role")


@check("trains the assistant", KIND, "put {% generation %} around each content of the assistant's and its end of turn")
def spans(subject: FromFile) -> str | None:
    """A span for each of its messages, which holds what it says and ends by its end of turn, and nothing of others."""
    template = subject.make()
    end = template.end_of_turn or EOS
    for messages in talks(template):
        marked = _mark(template, messages)
        pieces = [marked.text[first:last] for first, last in marked.spans]
        answers = [message for message in messages if message["role"] == "assistant"]
        others = [said for message in messages if message["role"] != "assistant" for said in said_in(message)]
        if len(pieces) != len(answers):
            raise Failed(f"{counted(len(pieces), 'span')} for {counted(len(answers), 'message')} of the assistant")
        for piece, message in zip(pieces, answers, strict=True):
            if any(said not in piece for said in said_in(message)) or any(said in piece for said in others):
                raise Failed(f"the span {piece[:40]!r} is not what the assistant says")
            if not piece.endswith(end) or piece.count(end) > 1:
                raise Failed(f"the span {piece[-40:]!r} does not end by {end}", do="put the end of turn at its end")
    return f"ends by {end}"


@check("prompt", KIND, "with add_generation_prompt, end where what is trained begins, to the letter")
def prompt(subject: FromFile) -> str | None:
    """What comes before the last answer is trained as it is written to ask for it."""
    template = subject.make()
    added = ""
    for messages in talks(template):
        text, spans = _mark(template, messages)
        start = text[: spans[-1][0]] if spans else ""
        asked = _render(template, messages[:-1], True)
        if asked != start:
            raise Failed(f"a prompt ends by {asked[-30:]!r}, but what is trained comes after {start[-30:]!r}")
        added = asked.removeprefix(_render(template, messages[:-1]))
    return repr(added)


@check(
    "turns stay",
    KIND,
    "write each message by itself; or say that later ones change earlier ones by `rewrites = True` in the class",
)
def turns(subject: FromFile) -> str | None:
    """What is written of the first messages stays as more come: it is trained as generated, and a cache keeps it."""
    template = subject.make()
    if template.rewrites:
        raise NotApplicable("it means to change what it wrote of earlier messages")
    found = 0
    for messages in talks(template):
        whole = _render(template, messages)
        for number in range(1, len(messages)):
            try:
                start = _render(template, messages[:number])
            except UserError:  # not every beginning is a conversation
                continue
            if not whole.startswith(start):
                raise Failed(f"message {number + 1} changes what is written of those before")
            found += 1
    return counted(found, "beginning")


@check("special tokens", KIND, "declare each token that the template writes, the end of turn among them, and no other")
def special_tokens(subject: FromFile) -> str | None:
    """Those that are declared are written, and a message that spells one is refused."""
    template = subject.make()
    tokens, end = template.special_tokens, template.end_of_turn
    if not isinstance(tokens, tuple) or not all(isinstance(token, str) and token for token in tokens):
        raise Failed(f"special_tokens is {tokens!r}", do="make it a tuple of texts")
    if len({*tokens}) < len(tokens) or (end is not None and end not in tokens):
        raise Failed(f"special_tokens {tokens} does not have each token once, {end} included")
    text = "".join(_render(template, messages, True) for messages in talks(template))
    if lost := [token for token in tokens if token not in text]:
        raise Failed(f"{', '.join(lost)} is declared and not written")
    for token in (*tokens, EOS):
        messages = [*talk(template)[:-1], {"role": "assistant", "content": f"so {token} it is"}]
        _refuses(partial(_render, template, messages), f"a message that spells {token}")
    return counted(len(tokens), "token")


@check("refuses", KIND, "leave it to `ChatTemplate.render` and `mark` to look through the messages first")
def refuses(subject: FromFile) -> str | None:
    """A role that it does not know, a message without content, and an empty conversation, by a `UserError`."""
    template = subject.make()
    wrong = {
        "a role that it does not know": [*talk(template), {"role": "unheard-of", "content": "Hello."}],
        "a message without content": [*talk(template)[:-1], {"role": "assistant"}],
        "an empty conversation": list[dict[str, Any]](),
    }
    for what, messages in wrong.items():
        for method in (template.render, template.mark):
            _refuses(partial(method, messages, bos_token=BOS, eos_token=EOS), what)
    return counted(len(wrong), "mistake")


@check("sandboxed", KIND, "render by `ChatTemplate.render` and `mark`: a text of unknown origin must not reach Python")
def sandboxed(subject: FromFile) -> str | None:
    """By its methods, templates that reach Python or change the messages are refused."""
    template = subject.make()
    for text in ATTACKS:
        # A private class, which no list has; a file's text is a property, which no instance could replace.
        hostile = copy.copy(template)
        hostile.__class__ = type(
            f"_{subject.cls.__name__}", (subject.cls,), {"text": text + "{% generation %}{% endgeneration %}"}
        )
        messages = talk(template)
        kept = copy.deepcopy(messages)
        for method in (hostile.render, hostile.mark):
            _refuses(partial(method, messages, bos_token=BOS, eos_token=EOS), f"the template {text}")
        if messages != kept:
            raise Failed(f"the template {text} changes the messages")
    return counted(len(ATTACKS), "template")


def _render(template: ChatTemplate, messages: list[dict[str, Any]], add_prompt: bool = False) -> str:
    return template.render(messages, tools_of(template), add_prompt, BOS, EOS)


def _mark(template: ChatTemplate, messages: list[dict[str, Any]]) -> Marked:
    return template.mark(messages, tools_of(template), False, BOS, EOS)


def _refuses(action: Callable[[], Any], what: str) -> None:
    try:
        action()
    except UserError as error:
        if "\n" not in str(error):
            return
        raise Failed(f"{what} is refused in more than one line") from error
    except Exception as error:
        raise Failed(f"{what} is met by a {type(error).__name__}, not by a UserError") from error
    raise Failed(f"{what} is not refused")
