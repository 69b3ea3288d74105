"""Names of modules as peft compares them: by their ends."""

from collections.abc import Collection


def shortest(wanted: Collection[str], others: Collection[str]) -> list[str]:
    """The ends of names, as short as they can be, that all wanted names have and no others; as peft compares them."""
    taken = {end for name in others for end in _ends(name)}
    return sorted({next((end for end in _ends(name) if end not in taken), name) for name in wanted})


def shortest_letters(wanted: Collection[str], others: Collection[str]) -> list[str]:
    """The same where peft compares letters, so that `norm` would be the end of `input_layernorm` too."""
    found = (next((end for end in _ends(name) if not any(o.endswith(end) for o in others)), name) for name in wanted)
    return sorted({*found})


def _ends(name: str) -> list[str]:
    """The ends of a name, from its last part to all of it."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in reversed(range(len(parts)))]
