"""The grid of an ablation: each `--swap` is an axis, each choice of one value from every axis is an arm.

`KEY=V1,V2` swaps one option. `KEY1,KEY2=[A1,A2],[B1,B2]` swaps several together, as `pytest.mark.parametrize` does: the
first value sets KEY1 to A1 and KEY2 to A2. Commas in brackets, braces and quotes divide nothing.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, product
from typing import Any, NamedTuple

import yaml

from lmkit.errors import UserError

OWN = {
    "trainer.max_steps": "--equal decides it; give the first arm's as an option",
    "seed_everything": "use --seeds, and --seed_everything for the first one",
    "data.seed": "use --seeds, and --data.seed for the first one",
    "trainer.default_root_dir": "use --out",
    "name": "use --out",
    "plugins": "give all of them by --plugins",
}
"""Options that an ablation sets itself, and what to do instead of swapping them."""

EXAMPLE = "as in --swap model.network.norm=LayerNorm,RMSNorm"


class Axis(NamedTuple):
    """What one `--swap` says.

    Attributes:
        keys: the options that change together.
        values: the choices, each with a value for every key.
    """

    keys: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]


class Arm(NamedTuple):
    """One configuration of the grid.

    Attributes:
        number: from 1.
        name: what it has instead of the recipe's parts, such as `norm=RMSNorm, position=ALiBi`.
        options: of `lmkit fit`.
        levels: its choice from every axis, such as `norm=RMSNorm`; put together they are its name.
    """

    number: int
    name: str
    options: tuple[str, ...]
    levels: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Its name as part of a path."""
        return f"{self.number}-{re.sub(r'[^A-Za-z0-9._+]+', '-', self.name)[:60].strip('-')}"


def parse_swap(text: str) -> Axis:
    """Reads the value of a `--swap`.

    Raises:
        UserError: it is none.
    """
    written, given, values = text.partition("=")
    keys = tuple(written.split(","))
    if not given or not all(re.fullmatch(r"[A-Za-z_][\w.]*", key) for key in keys):
        raise UserError(f"--swap is {text!r}: give an option and its values, {EXAMPLE}")
    if own := [key for key in keys if key in OWN]:
        raise UserError(f"--swap {own[0]}: an ablation sets it itself: {OWN[own[0]]}")
    choices = split(values, text)
    return Axis(keys, tuple((choice,) if len(keys) == 1 else _group(choice, keys) for choice in choices))


def split(text: str, whole: str) -> list[str]:
    """Divides at the commas outside brackets, braces and quotes.

    Args:
        text: to be divided.
        whole: what it is part of, to be named in an error.

    Raises:
        UserError: a part is empty, or a bracket has no partner.
    """
    parts, waiting, quote = [""], list[str](), ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            waiting.append("]" if letter == "[" else "}")
        elif letter in "]}" and (not waiting or waiting.pop() != letter):
            raise UserError(f"--swap {whole}: a {letter} closes nothing: correct the brackets")
        elif letter == "," and not waiting:
            parts.append("")
            continue
        parts[-1] += letter
    if quote or waiting:
        raise UserError(f"--swap {whole}: a {quote or waiting[-1]} is missing: correct the brackets or quotes")
    parts = [part.strip() for part in parts]
    if not all(parts):
        raise UserError(f"--swap {whole}: a value is empty: write null for none, and no comma too many")
    return parts


def grid(axes: Sequence[Axis]) -> list[Arm]:
    """All arms; the first has the first value of every axis.

    Raises:
        UserError: a key is swapped twice, a value is named twice, or there is nothing to compare.
    """
    keys = [key for axis in axes for key in axis.keys]
    for key, times in Counter(keys).items():
        if times > 1:
            raise UserError(f"--swap {key} came {times} times: put all of its values into one --swap")
    for axis in axes:
        for value, times in Counter(axis.values).items():
            if times > 1:
                raise UserError(f"--swap {','.join(axis.keys)}: {','.join(value)} came {times} times: name it once")
    short = _short(keys)
    choices = [list(zip(axis.values, _levels(axis, short), strict=True)) for axis in axes]
    arms = []
    for number, chosen in enumerate(product(*choices), 1):
        pairs = zip(keys, chain(*(values for values, _ in chosen)), strict=True)
        levels = tuple(level for _, level in chosen)
        arms.append(Arm(number, ", ".join(levels), tuple(f"--{key}={value}" for key, value in pairs), levels))
    if len(arms) < 2:
        raise UserError(f"there is nothing to compare: give --swap with two values or more, {EXAMPLE}")
    return arms


def _group(choice: str, keys: Sequence[str]) -> tuple[str, ...]:
    """The values of keys that change together."""
    values = split(choice[1:-1], choice) if choice.startswith("[") and choice.endswith("]") else []
    if len(values) != len(keys):
        raise UserError(
            f"--swap {','.join(keys)}: {choice} is not a value for each of the {len(keys)} keys: write them in "
            "brackets, as in 'model.network.norm,model.network.position=[RMSNorm,Rotary],[LayerNorm,ALiBi]'"
        )
    return tuple(values)


def _short(keys: Sequence[str]) -> dict[str, str]:
    """For each key as many of its last words as tell it from the others."""
    short = {}
    for key in keys:
        words = key.split(".")
        ends = [".".join(words[-count:]) for count in range(1, len(words) + 1)]
        short[key] = next((end for end in ends if not any(k != key and f".{k}".endswith(f".{end}") for k in keys)), key)
    return short


def _levels(axis: Axis, short: dict[str, str]) -> list[str]:
    """The choices of an axis in words, which differ: `norm=RMSNorm`."""
    for told in (_brief, str):
        levels = [", ".join(f"{short[k]}={told(v)}" for k, v in zip(axis.keys, v, strict=True)) for v in axis.values]
        if len(set(levels)) == len(levels):
            break
    return levels


def _brief(value: str) -> str:
    """A value in a word: of a part with options `Part(option=value)`, otherwise as it was written."""
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return _told(read) if isinstance(read, dict) and "class_path" in read else value


def _told(value: Any) -> str:
    if not isinstance(value, dict) or "class_path" not in value:
        return "null" if value is None else str(value)
    options = ", ".join(f"{key}={_told(part)}" for key, part in (value.get("init_args") or {}).items())
    name = str(value["class_path"]).rpartition(".")[2]
    return f"{name}({options})" if options else name
