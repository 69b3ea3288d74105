"""Adapters put onto a base when it is used: one in place of another, or several, whose changes are added up."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lmkit import checkpoints
from lmkit.checkpoints import BASE, KEY, ids_of
from lmkit.errors import UserError
from lmkit.hf.adapters import read_adapter
from lmkit.hf.adapters.foreign import CONFIG
from lmkit.hf.heads import check_writes
from lmkit.hf.more_tokens import with_new_rows, with_rows_of
from lmkit.hf.own_code.write import PREFIX
from lmkit.hf.start import FromCheckpoint
from lmkit.hf.tables.anatomy import anatomy_of
from lmkit.hf.tables.families import family_of
from lmkit.hf.tables.rule import Rule
from lmkit.hf.tables.rules import Rename
from lmkit.hf.weights import Ties
from lmkit.network import Decoder, Network
from lmkit.network.fingerprint import digest_of, fingerprint_of
from lmkit.registry import load_plugins
from lmkit.transforms import Transform, transformed
from lmkit.transforms.four_bit_states import four_bits_of, quantized_by, quantized_state, restored_state
from lmkit.transforms.merging import adapted, adapter_of, base_state, beside_base, merged_into


class Learned(NamedTuple):
    """What has been learned beside a base."""

    where: Path
    transforms: list[Transform]
    """That make a network of the base's recipe one that has places for it; an adapter is among them."""
    own: dict[str, Tensor]
    """By the names of that network."""


class Total(NamedTuple):
    """What a base has become by now."""

    state: dict[str, Tensor]
    changed: dict[str, Path]
    """Who has changed a tensor first."""
    restored: dict[str, Learned]
    """Who was learned beside the codes of a matrix first, for which their numbers have taken its place."""


def stacked(base: FromCheckpoint, adapters: Sequence[str | Path], plugins: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The tensors of a base with adapters merged in one after another, in float32 as far as they are changed.

    Args:
        base: a run's or any checkpoint, whose plugins are loaded.
        adapters: runs or checkpoints of lmkit that were begun beside that base, or folders of peft.
        plugins: files of the plugins they use, where those that their recipes name are no longer there.

    Raises:
        UserError: one holds no adapter, or is of another base, or does not add up with those before it.
    """
    ids = ids_of(widest(base, adapters))
    known = base.tensors()
    begun = with_new_rows(known, base.blank(ids).state_dict())  # as runs that have more token ids begin
    total = Total(dict(begun), {}, {})
    for where in map(Path, adapters):
        foreign = _is_foreign(where)
        learned = _from_peft(base, where, known) if foreign else _from_lmkit(base, where, begun, plugins)
        _add(learned, base.blank(ids), begun, total)
    return total.state


def widest(base: FromCheckpoint, adapters: Sequence[str | Path]) -> Mapping[str, Any]:
    """What the one of a base and runs beside it keeps under `lmkit` whose network has rows for the most token ids, or
    else whose tokenizer knows the most: a chat template may write tokens that are new to the base.

    Args:
        base: a run's or any checkpoint.
        adapters: runs or checkpoints of lmkit, or folders of peft, which say nothing of it; of two alike the last.
    """
    held = [checkpoints.read(checkpoints.find(where)) for where in reversed(adapters) if not _is_foreign(where)]
    all_kept = [base.kept, *(each[KEY] for each in held if KEY in each)]
    return max(all_kept, key=lambda kept: (ids_of(kept), Tokenizer.from_str(kept["tokenizer"]).get_vocab_size()))


def _is_foreign(where: str | Path) -> bool:
    return (Path(where) / CONFIG).is_file()


def _from_lmkit(base: FromCheckpoint, where: Path, begun: Mapping[str, Tensor], plugins: tuple[str, ...]) -> Learned:
    """What a run has learned.

    Raises:
        UserError: it has no adapter, or another base.
    """
    path = checkpoints.find(where)
    held = checkpoints.read(path)
    if KEY not in held:
        raise UserError(f"{path} holds no recipe, so that its adapter is not known: it was not written by lmkit")
    load_plugins(plugins or held[KEY]["recipe"]["plugins"])
    check_writes(held[KEY], path, "be put beside a base that does")
    transforms, own = checkpoints.transforms_of(held[KEY]), checkpoints.weights(held)
    if adapter_of(transforms) is None:
        raise UserError(f"{path} holds a whole network and no adapter: give a run that has one, such as LoRA")
    if BASE in held:
        same = held[BASE]["fingerprint"] == base.fingerprint()
    else:  # which was drawn there
        was = base_state(own)
        same = fingerprint_of({name: digest_of(tensor) for name, tensor in was.items()}) == base.fingerprint()
        own = {name: tensor for name, tensor in own.items() if not any(tensor is each for each in was.values())}
    if not same:
        beside = f", but {held[BASE]['path']} as it was then" if BASE in held else ""
        raise UserError(f"{path} was not learned beside {base.path}{beside}: give the base that it was begun with")
    return Learned(path, transforms, own)


def _from_peft(base: FromCheckpoint, where: Path, known: Mapping[str, Tensor]) -> Learned:
    """What a folder of peft holds.

    Raises:
        UserError: it is none of this base.
    """
    network = base.blank()
    if not isinstance(network, Decoder):
        raise UserError(f"{where} is a folder of peft, but {base.path} no Decoder, for which alone these are read")
    anatomy = anatomy_of(base.recipe, network)
    found = family_of(anatomy, (base.imported or {}).get("config"))
    rules: list[Rule] = [Rename(PREFIX + name, name) for name in known]
    if found:
        rules = Ties(found[0], anatomy, known).rules
    read = read_adapter(where, rules, known)
    return Learned(where, [read.transform], read.tensors)


@torch.no_grad()
def _add(learned: Learned, network: Network, begun: Mapping[str, Tensor], total: Total) -> None:
    """Adds what has been learned to a state.

    Args:
        learned: beside the base.
        network: of the base's recipe, on meta.
        begun: the base's tensors.
        total: what they have become by now.

    Raises:
        UserError: it does not add up with what has changed a matrix before.
    """
    with torch.device("meta"):
        names = transformed(network, learned.transforms).state_dict()
    _restore_once(learned, names, total)
    state, changed = total.state, total.changed
    base = quantized_state(begun, names, learned.transforms)  # beside which it was learned
    whole = restored_state(beside_base(names, learned.own, base), learned.transforms)
    adapter: Any = adapter_of(learned.transforms)
    found: dict[str, Tensor] = {}
    for name, tensor in with_rows_of(begun, base_state(whole)).items():
        if total.restored.get(name, learned) is not learned:  # by the numbers of the same codes
            continue
        if not torch.equal(tensor.to(begun[name].dtype), begun[name]):  # learned in full, or adjusted by its layer
            found[name] = tensor if name not in changed else state[name] + (tensor - begun[name])
    for module, parts in adapted(whole).items():
        name = f"{module}.weight"
        if name in changed and not adapter.adds_up:
            raise UserError(
                f"{learned.where} cannot follow {changed[name]}, which has changed {name}: {type(adapter).__name__} "
                "does not add up with other changes of a matrix; give it first, or alone"
            )
        exact = {each: _exact(found.get(each, state[each])) for each in (name, f"{module}.bias") if each in state}
        found |= merged_into(exact, module, adapter, parts)
    state |= found
    for name in found:
        changed.setdefault(name, learned.where)


def _restore_once(learned: Learned, names: Iterable[str], total: Total) -> None:
    """Notes beside which codes something was learned, which make other numbers of a matrix, once for all.

    Raises:
        UserError: something else was learned beside other codes of the same matrix.
    """
    for name, method in quantized_by(names, learned.transforms).items():
        first = total.restored.setdefault(name, learned)
        if (other := four_bits_of(first.transforms)) is not None and other.spelling != method.spelling:
            raise UserError(
                f"{learned.where} was learned beside {name} in four bits by {method.spelling}, but {first.where} by "
                f"{other.spelling}, and only one of them can be what both are added to: give adapters of one quantizer"
            )


def _exact(tensor: Tensor) -> Tensor:
    """With digits enough for sums."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
