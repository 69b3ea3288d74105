"""Rotary positions in a config.json: `rope_parameters`, or `rope_theta` and `rope_scaling` as they were before."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lmkit.errors import UserError
from lmkit.hf.shown import says
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.entry import Entry
from lmkit.hf.tables.layer_keys import FULL, SLIDING, kind_of, without_position
from lmkit.hf.tables.rope_checks import check_whole, told
from lmkit.hf.tables.rope_parameters import NAMES, parameters_of_all, position, width_of
from lmkit.hf.tables.values import Config


class Rope(Entry):
    """The rotation of all layers alike.

    Args:
        theta: the base where a config says none.
        share: the part of each head that is rotated where a config says none; none where all of it always is.
        base_key: the key of the base before there were `rope_parameters`.
        share_key: that of the part.
        kinds: every `rope_type` that the family knows.
        usual: the rope parameters where a config has none.
        original: the original context where a config says none beside them, whatever they say; none for what they say.
    """

    def __init__(
        self,
        theta: float = 10000.0,
        share: float | None = None,
        base_key: str = "rope_theta",
        share_key: str = "partial_rotary_factor",
        kinds: tuple[str, ...] = tuple(NAMES),
        usual: Mapping[str, Any] = MappingProxyType({}),
        original: int | None = None,
    ) -> None:
        self.theta, self.share, self.base_key, self.share_key, self.kinds = theta, share, base_key, share_key, kinds
        self.usual, self.original = usual, original
        self.theirs = ("rope_parameters", "rope_scaling", base_key, share_key, "original_max_position_embeddings")

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        given = told(config) or ({} if "rope_parameters" in config else self.usual)
        given = {"rope_theta": config.get(self.base_key, self.theta), **given}
        share = config.get(self.share_key, self.share)
        if share is not None and given.setdefault("partial_rotary_factor", share) != share and self.share_key in config:
            raise UserError(
                f"{says(self.share_key, share)}, and another partial_rotary_factor in rope_parameters: "
                "correct one of them"
            )
        check_whole(given, self.share)
        beside = {"original_max_position_embeddings": self.original} if self.original else {}
        config = {**beside, **config, "max_position_embeddings": anatomy.whole["context"]}
        for number, layer in enumerate(anatomy.layers):
            anatomy.layers[number] = without_position(layer) | position(given, width_of(layer), config, self.kinds)

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        found = config["rope_parameters"] = parameters_of_all(anatomy.layers, self.share, config)
        beside = {"original_max_position_embeddings": "original_max_position_embeddings"}
        beside |= {"partial_rotary_factor": self.share_key}
        config |= {beside[key]: found[key] for key in beside if key in found}  # which transformers prefers


class RopeByType(Entry):
    """A rotation of the layers that see all, which may be scaled, and another of those that see a window.

    Args:
        theta: the base of the former where a config says none.
        local_theta: that of the latter; none for the same.
        local_key: the key of the latter before there were `rope_parameters`; none if it was the same.
        flat: whether that of the windows is also written without a type, for transformers that know one only.
    """

    def __init__(
        self, theta: float, local_theta: float | None = None, local_key: str | None = None, flat: bool = False
    ) -> None:
        self.theta, self.local_theta, self.local_key, self.flat = theta, local_theta, local_key, flat
        self.theirs = ("rope_parameters", "rope_scaling", "rope_theta", *([local_key] if local_key else []))

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        given, config = told(config), {**config, "max_position_embeddings": anatomy.whole["context"]}
        if FULL not in given and SLIDING not in given:
            whole = {"rope_theta": config.get("rope_theta"), **given}
            local = config.get(self.local_key) if self.local_key else whole["rope_theta"]
            given = {FULL: whole, SLIDING: {"rope_theta": local}}
        for number, layer in enumerate(anatomy.layers):
            kind = kind_of(layer)
            own = dict(told({"rope_parameters": given.get(kind)}))
            check_whole(own, None)
            usual = self.theta if kind == FULL or self.local_theta is None else self.local_theta
            own["rope_theta"] = own.get("rope_theta") or usual
            anatomy.layers[number] = without_position(layer) | position(own, width_of(layer), config)

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        found = {
            kind: parameters_of_all(layers, None, config)
            for kind in (SLIDING, FULL)
            if (layers := [layer for layer in anatomy.layers if kind_of(layer) == kind])
        }
        config["rope_parameters"] = {**(next(iter(found.values())) if self.flat else {}), **found}
