"""By which token the assistant ends, told by what a chat template writes behind what it says.

Folders do not say it: eos is the end of a document in some (Phi 3, Gemma), and generation may end at several tokens
of which some begin a turn or call a tool.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer

from lmkit.data.chat_templates import dialect

_SAID = "an answer"
_CONVERSATION = ({"role": "user", "content": "a question"}, {"role": "assistant", "content": _SAID})


def end_of_turn(
    tokenizer: Tokenizer, template: str | None, end: int, stops: Sequence[int], bos: str | None, eos: str | None
) -> int | None:
    """The id of the token by which the assistant ends, none where nothing tells it.

    Args:
        tokenizer: whose special tokens it is among.
        template: the chat template, if there is one.
        end: the id of the token that ends a document.
        stops: the ids at which generation ends.
        bos: what templates are given as `bos_token`.
        eos: what templates are given as `eos_token`.
    """
    added = tokenizer.get_added_tokens_decoder()
    tokens = {token.content: number for number, token in added.items() if token.special or number in stops}
    behind = _behind_the_answer(template, bos, eos) if template else ""
    written = [token for token in tokens if token in behind]
    if written:  # where one begins as another does, the longer one is meant
        return tokens[min(written, key=lambda token: (behind.index(token), -len(token)))]
    named = [] if eos is None else [tokenizer.token_to_id(eos)]
    return next((number for number in (*named, *stops) if number not in (end, None)), None)


def _behind_the_answer(template: str, bos: str | None, eos: str | None) -> str:
    values = {"messages": list(_CONVERSATION), "tools": None, "documents": None, "add_generation_prompt": False}
    try:
        text = dialect.render(template, {**values, "bos_token": bos or "", "eos_token": eos or ""})
    except Exception:  # whatever a template of unknown origin does; it may want another conversation
        return ""
    return text.rpartition(_SAID)[2] if _SAID in text else ""
