"""Row formats: what is declared is read, and a row that is not as it should be is a fault, not the end."""

import copy
import json
from typing import Any

from lmkit.data.conversations import Conversation, Judged, Labelled, Preference, RowFormat, check_turns
from lmkit.errors import UserError
from lmkit.testing.from_file import FromFile
from lmkit.testing.results import Failed, clean, counted
from lmkit.testing.suite import check

KIND = (RowFormat,)
GIVEN = (Conversation, Preference, Judged, Labelled)

ODD: tuple[Any, ...] = (
    None,
    3,
    2.5,
    True,
    "",
    "a text",
    "{",
    [],
    [None],
    ["a text"],
    [[]],
    [{}],
    {},
    {"role": "user"},
    [{"role": "user"}],
    [{"role": 3, "content": 3}],
    [{"role": "assistant", "content": None, "tool_calls": 3}],
    [{"from": "human"}],
    [{"from": [], "value": None}],
    [{"from": "function_call", "value": "[]"}],
)
"""Values that no key may expect, or only some."""


@check("declares", KIND, "say `gives`, `keys` and `row`, and the rest of what `RowFormat` lists, as plain data")
def declares(subject: FromFile) -> str | None:
    """What it gives is known, its example has its keys, and all other names are of keys that it reads."""
    made = _made(subject)
    if not isinstance(getattr(made, "gives", None), type) or not issubclass(made.gives, GIVEN):
        raise Failed(f"gives is none of {', '.join(each.__name__ for each in GIVEN)}")
    for name in ("keys", "optional", "inner"):
        held = getattr(made, name, None)
        if not isinstance(held, tuple) or not all(isinstance(key, str) for key in held):
            raise Failed(f"{name} is no tuple of names")
    if not made.keys or not {*made.aliases.values()} <= {*made.keys, *made.optional}:
        raise Failed("keys is empty, or an alias is of none")
    if not isinstance(getattr(made, "row", None), dict) or not made.fits(made.row):
        raise Failed("row has not the keys that are declared", do="give as `row` an example that has all of `keys`")
    return counted(len(made.keys), "name")


@check(
    "reads its row", KIND, "read `row` as one of `gives`, by plain data, without a change to it or a memory of others"
)
def reads(subject: FromFile) -> str | None:
    """The example is read as something that can be learned from, the same each time, and stays as it was."""
    made, other = _made(subject), _made(subject)
    kept = copy.deepcopy(made.row)
    found = made(made.row)
    if not isinstance(found, made.gives):
        raise Failed(f"it gives a {type(found).__name__}, but says {made.gives.__name__}")
    check_turns(found)
    json.dumps(found)
    for odd in ODD:
        _read(made, dict.fromkeys(made.keys, odd), "")
    if made.row != kept:
        raise Failed("the row has changed")
    if not found == made(made.row) == other(copy.deepcopy(kept)):
        raise Failed("read again, it is something else")
    return found.__class__.__name__


@check("odd rows are faults", KIND, "look at what a value is, and raise a UserError where it is not what is needed")
def odd(subject: FromFile) -> str | None:
    """Keys that lack, and values of other types, give a `UserError` of one line or can be read."""
    made, faults = _made(subject), 0
    for key in (*made.keys, *made.optional):
        rows = [({**made.row, key: odd}, f"{odd!r} as {key}") for odd in ODD]
        rows += [({own: value for own, value in made.row.items() if own != key}, f"a row without {key}")]
        faults += sum(_read(made, row, what) for row, what in rows)
    if not faults:
        raise Failed("whatever its values are, it reads them")
    return counted(faults, "fault")


def _read(made: Any, row: dict[str, Any], what: str) -> bool:
    """Whether a row is a fault.

    Raises:
        Failed: it stops a run, or is neither read nor a fault.
    """
    try:
        found = made(row)
        check_turns(found)
    except UserError as error:
        if len(str(error).splitlines()) != 1:
            raise Failed(f"{what} gives an error of {len(str(error).splitlines())} lines") from error
        return True
    except Exception as error:
        if not what:  # which is another check's business
            return True
        raise Failed(f"{what} stops it ({clean(error)})") from error
    if what and not isinstance(found, made.gives):
        raise Failed(f"{what} gives a {type(found).__name__}")
    return False


def _made(subject: FromFile) -> Any:
    with subject.beside():
        return subject.make()
