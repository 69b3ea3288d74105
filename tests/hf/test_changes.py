"""Every key of every config left out or changed: lmkit refuses it in one line, or computes what transformers does."""

import copy
import json

import pytest
import torch

from lmkit.errors import UserError
from lmkit.hf.model import Model
from lmkit.hf.tables.families import FAMILIES
from lmkit.registry import build
from tests.hf.peers import loaded, logits_of, rows
from tests.hf.variants import PEERS

OF_THE_OUTPUT = {"return_dict", "problem_type", "transformers_version", "architectures", "dtype", "use_cache"}


LEFT_OUT = {
    ("gpt_neox", "rope_parameters"),  # of which transformers 5.3 takes the part of a head for 0.25 always
    ("olmo3", "rope_parameters"),  # for which 5.3 has one rotation and another default base than later versions
}


def others(value):
    """Values in place of one, none of which a person would choose."""
    yield None
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, 2 * value)
    elif isinstance(value, float):
        yield 3 * value + 0.1
    elif isinstance(value, str):
        yield "gelu"
    elif isinstance(value, list):
        yield value[::-1]
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield {other: kept for other, kept in value.items() if other != key}
            yield from (copy.deepcopy(value) | {key: changed} for changed in others(inner))
    else:
        yield from (True, 3, 0.5)


def changed(peer, thorough):
    """Configs that differ in one key each, with that key; one of each key, unless it is to be thorough."""
    config = peer.config
    for key, value in {**peer.model.config.to_dict(), **config}.items():
        if key in OF_THE_OUTPUT or key.startswith("_"):
            continue
        if not thorough:
            yield key, config | {key: [*others(value)][-1]}
            continue
        if key in config:
            yield key, {other: kept for other, kept in config.items() if other != key}
        yield from ((key, config | {key: other}) for other in others(value))


@torch.no_grad()
def ours(folder):
    """Logits of a folder, none if it is refused."""
    try:
        model = Model(folder)
    except UserError as error:
        assert "\n" not in str(error)
        return None
    network = model.build().eval()
    model.load_into(network)
    return network.logits(network(rows()))


def theirs(folder):
    """The same of transformers, none if it fails in any way of its own."""
    try:
        return logits_of(loaded(folder), rows())
    except Exception:
        return None


READ_OTHERWISE = {"gpt_neox rotated whole", "gpt_neox rotated by half"}
"""What transformers 5.3 reads otherwise than it wrote it: it takes 0.25 of a head always."""


@pytest.fixture
def each_recipe_once(monkeypatch):
    """Has a recipe be parsed once, however many configs are read as it."""
    made = {}

    def once(annotation, recipe):
        told = json.dumps(recipe, sort_keys=True)
        if told not in made:
            made[told] = build(annotation, recipe)
        return made[told]

    monkeypatch.setattr("lmkit.hf.model.build", once)


@pytest.mark.slow
@pytest.mark.usefixtures("each_recipe_once")
@pytest.mark.parametrize("name", [name for name in PEERS if name not in READ_OTHERWISE])
def test_a_key_that_changes_what_is_computed_is_heard_or_refused(peer, tmp_path, name):
    one, compared = peer(name), 0
    (tmp_path / "model.safetensors").symlink_to(one.folder / "model.safetensors")
    for key, config in changed(one, thorough=name in FAMILIES):
        if (PEERS[name][0], key) in LEFT_OUT:
            continue
        (tmp_path / "config.json").write_text(json.dumps(config))
        mine = ours(tmp_path)
        if mine is not None and (expected := theirs(tmp_path)) is not None:
            torch.testing.assert_close(mine, expected, rtol=0, atol=1e-4, msg=f"{key}: {config.get(key)!r}")
            compared += 1
    assert compared > (20 if name in FAMILIES else 5)
