"""Keys of a config.json that tell the layers of a network apart: windows, mixtures, layers without positions."""

from collections.abc import Callable
from typing import Any

from lmkit.errors import UserError
from lmkit.hf.shown import says
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.entry import Entry, NotOfFamily
from lmkit.hf.tables.values import Config, checked, value_of

FULL, SLIDING = "full_attention", "sliding_attention"


class Windows(Entry):
    """Which layers see a window only, and how many tokens that is.

    Args:
        usual: the types of the layers where the config does not list them.
        switch: a key by which windows are turned off; none if there is none.
        listed: whether a config may list them.
        length: the window where a config does not say.
    """

    def __init__(
        self,
        usual: Callable[[Config], list[str]],
        switch: str | None = None,
        listed: bool = True,
        length: int | None = 4096,
    ) -> None:
        self.usual, self.switch, self.listed, self.length = usual, switch, listed, length
        self.theirs = ("sliding_window", *(["layer_types"] if listed else []), *([switch] if switch else []))

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        window = config.get("sliding_window", self.length)
        if self.switch and not config.get(self.switch):
            window = None
        if window is not None:
            window = checked({"sliding_window": window}, "sliding_window", int)
        types = value_of(config, "layer_types", self.usual) if self.listed else self.usual(config)
        if not is_list(types, len(anatomy.layers)) or any(kind not in (FULL, SLIDING) for kind in types):
            raise UserError(
                f"{says('layer_types', types)}, but lmkit represents {len(anatomy.layers)} layers of "
                f"{FULL} or {SLIDING}"
            )
        if window is None and SLIDING in types and (self.switch is None or config.get("layer_types")):
            raise UserError(f"config.json says that layers are of {SLIDING}, but not how many tokens they see")
        for layer, kind in zip(anatomy.layers, types, strict=True):
            layer["attention.window"] = window if kind == SLIDING else None

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        windows = {layer.get("attention.window") for layer in anatomy.layers} - {None}
        if len(windows) > 1:
            raise NotOfFamily("windows of several lengths")
        if windows or self.switch:
            config["sliding_window"] = next(iter(windows), None)
        if self.listed:
            config["layer_types"] = [kind_of(layer) for layer in anatomy.layers]
        if self.switch:
            config[self.switch] = bool(windows)


class DenseFirst(Entry):
    """The first layers are dense, all others mixtures of experts.

    Args:
        theirs: the key of their number.
    """

    def __init__(self, theirs: str) -> None:
        self.theirs = (theirs,)

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        dense = checked({**config, self.theirs[0]: value_of(config, self.theirs[0], 3)}, self.theirs[0], int, least=0)
        for number, layer in enumerate(anatomy.layers):
            layer["feed_forward"] = "Gated" if number < dense else "MixtureOfExperts"

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`; a layer elsewhere that does not fit is found when the config is read again."""
        kinds = [layer["feed_forward"] for layer in anatomy.layers]
        config[self.theirs[0]] = next((n for n, kind in enumerate(kinds) if kind != "Gated"), len(kinds))


class DenseAmong(Entry):
    """Mixtures of experts at every so many layers, but for some that are dense by their numbers (Qwen)."""

    theirs = ("decoder_sparse_step", "mlp_only_layers")

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        step = checked({"decoder_sparse_step": 1, **config}, "decoder_sparse_step", int)
        dense = value_of(config, "mlp_only_layers", [])
        if not is_list(dense):
            raise UserError(f"{says('mlp_only_layers', dense)}, but it has to be a list of layers' numbers")
        for number, layer in enumerate(anatomy.layers):
            mixed = number not in dense and (number + 1) % step == 0
            layer["feed_forward"] = "MixtureOfExperts" if mixed else "Gated"

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        kinds = [layer["feed_forward"] for layer in anatomy.layers]
        config["decoder_sparse_step"] = 1
        config["mlp_only_layers"] = [number for number, kind in enumerate(kinds) if kind == "Gated"]


class NoPositions(Entry):
    """Layers that know no positions, as every fourth of SmolLM 3 (NoPE, arXiv:2305.19466); after `Rope` in a table."""

    theirs = ("no_rope_layers", "no_rope_layer_interval")

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        for number, known in enumerate(rotated(config, len(anatomy.layers))):
            if not known:
                anatomy.layers[number] = without_position(anatomy.layers[number]) | {"position": "NoPosition"}

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        config["no_rope_layers"] = [int(layer["position"] != "NoPosition") for layer in anatomy.layers]


def rotated(config: Config, depth: int) -> list[Any]:
    """Which layers know positions: 1 for one that does, 0 for one that does not.

    Raises:
        UserError: the config says something else.
    """
    every = checked({"no_rope_layer_interval": 4, **config}, "no_rope_layer_interval", int)
    usual = [int((number + 1) % every != 0) for number in range(depth)]
    found = value_of(config, "no_rope_layers", usual)
    if not is_list(found, depth):
        raise UserError(f"{says('no_rope_layers', found)}, not a list of {depth} numbers")
    return list(found)


def is_list(value: Any, length: int | None = None) -> bool:
    """Whether a value is a list, of some length."""
    return isinstance(value, list) and length in (None, len(value))


def kind_of(layer: dict[str, Any]) -> str:
    """What Hugging Face calls a layer by its window."""
    return FULL if layer.get("attention.window") is None else SLIDING


def without_position(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer's parts without its position."""
    return {name: value for name, value in layer.items() if name.partition(".")[0] != "position"}
