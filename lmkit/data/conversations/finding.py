"""Which format a row has, told by its keys, and names of columns that differ from a format's."""

from collections.abc import Iterable
from typing import Any

from lmkit.data.conversations.formats import Alpaca, OpenAIMessages, PromptCompletion
from lmkit.data.conversations.kinds import RowFormat
from lmkit.data.conversations.label_formats import PromptCompletionLabel, TextLabel
from lmkit.data.conversations.pair_formats import ChosenRejected, PromptChosenRejected
from lmkit.data.conversations.share_gpt import ShareGPT
from lmkit.data.conversations.values import Conversation, Judged, Labelled, Preference
from lmkit.errors import UserError

FORMATS: tuple[type[RowFormat], ...] = (
    OpenAIMessages,
    ShareGPT,
    Alpaca,
    PromptCompletion,
    PromptChosenRejected,
    ChosenRejected,
    PromptCompletionLabel,
    TextLabel,
)
"""Those that are found by keys. A plugin's is named, so that no plugin changes how others' rows are read."""

READERS: dict[type, tuple[str, str]] = {
    Conversation: ("Chat", "recipes/sft.yaml"),
    Preference: ("Preferences", "recipes/dpo.yaml"),
    Judged: ("Judgements", "recipes/kto.yaml"),
    Labelled: ("Labels", "recipes/classify.yaml"),
}
"""By what rows may mean: the class of data that reads such rows, and a recipe that does."""

Kinds = type | tuple[type, ...]
"""What a row may mean: `Conversation`, `Preference`, `Judged`, `Labelled`, or any of several."""


def find_format(values: dict[str, Any], kind: Kinds) -> RowFormat:
    """The format of a row: of those whose keys it has, the one of the most, with names of its own rather than aliases.

    Args:
        values: of the row.
        kind: what it has to mean.

    Raises:
        UserError: it has the keys of none, or says of its answer whether that is good.
    """
    fitting = [each for each in _of(kind) if each.fits(values)]
    if not fitting:
        came = f"the keys {', '.join(values)}" if values else "no keys"
        raise UserError(
            f"it has {came}, but a {told(kind)} is read by {', '.join(each.told() for each in _of(kind))}: "
            f"{_other_data(values)}give the format's names by columns, as {{question: prompt}}, or name a format"
        )
    found = max(fitting, key=lambda each: (len(each.keys), sum(key in values for key in each.keys)))
    if issubclass(found.gives, Conversation) and isinstance(values.get("label"), bool):
        raise UserError(
            f"its label is {values['label']}, so that answers are good or bad: to learn from both take data of "
            f"Judgements, as recipes/kto.yaml does; to learn to say them all name the format {found.__name__}"
        )
    return found()


def check_format(format: RowFormat | None, columns: dict[str, str], kind: Kinds) -> None:
    """Looks whether a format gives what is needed, and columns name what it reads.

    Args:
        format: the one that is named; none for those that can be found.
        columns: own name to the format's.
        kind: what is needed.

    Raises:
        UserError: they do not.
    """
    if format is not None and not issubclass(format.gives, kind):
        raise UserError(
            f"{type(format).__name__} gives a {format.gives.__name__}, but a {told(kind)} is needed: "
            f"name one of {', '.join(each.__name__ for each in _of(kind))}"
        )
    formats: Iterable[Any] = _of(kind) if format is None else (format,)
    known = sorted({key for each in formats for key in (*each.keys, *each.optional)})
    for own, key in columns.items():
        if key not in known:
            of = f"{type(format).__name__} does not read" if format else f"no format of a {told(kind)} reads"
            raise UserError(f"columns gives {own} the name {key}, which {of}: give one of {', '.join(known)}")
    if len({*columns.values()}) < len(columns):
        raise UserError(f"columns is {columns}: give each name once only")


def rename(values: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    """The values under the format's names; what had such a name of its own makes room."""
    there = {own: key for own, key in columns.items() if own in values}
    kept = {key: value for key, value in values.items() if key not in there and key not in there.values()}
    return kept | {key: values[own] for own, key in there.items()}


def told(kind: Kinds) -> str:
    """What is needed, in words."""
    return " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))


def _other_data(values: dict[str, Any]) -> str:
    """What else would read a row, if anything does."""
    fitting = [each for each in FORMATS if each.fits(values) and ("label" in values or "label" not in each.row)]
    if not fitting:
        return ""
    found = max(fitting, key=lambda each: sum(key in values for key in each.row))
    data, recipe = READERS[found.gives]
    return f"to read it as a {found.gives.__name__} take data of {data}, as {recipe} does; else "


def _of(kind: Kinds) -> list[type[RowFormat]]:
    return [each for each in FORMATS if issubclass(each.gives, kind)]
