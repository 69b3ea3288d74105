"""Rules between a file's tensors and ours against obvious loops, what is told twice or not at all, and shards."""

import pytest
import torch
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from lmkit.errors import UserError
from lmkit.hf.model import Model
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.binding import bind, where
from lmkit.hf.tables.rules import Rename, Split, Stack, Transpose
from tests.ranks import in_ranks

HEADS, ROTATED, EXPERTS = 3, 4, 5
SIZES = {"heads": HEADS, "rotated": ROTATED, "experts": EXPERTS, "hidden": 6}


def there_and_back(rule, ours, expected):
    """Writes ours by a rule, compares, and reads it into empty tensors."""
    bound = rule.bound({}, SIZES)
    theirs = torch.full(bound.shape(ours), float("nan"))
    for pair in bound.pairs(theirs, ours):
        pair.theirs.copy_(pair.ours)
    assert torch.equal(theirs, expected)
    empty = {name: torch.full_like(tensor, float("nan")) for name, tensor in ours.items()}
    for pair in bound.pairs(theirs, empty):
        pair.ours.copy_(pair.theirs)
    assert all(torch.equal(empty[name], tensor) for name, tensor in ours.items())


def test_rename():
    one = torch.randn(4, 3)
    there_and_back(Rename("x", "a"), {"a": one}, one)


def test_rename_in_rows():
    one = torch.randn(10)
    expected = torch.empty(EXPERTS, 2)
    for row in range(EXPERTS):
        for column in range(2):
            expected[row, column] = one[row * 2 + column]
    there_and_back(Rename("x", "a", rows="experts"), {"a": one}, expected)


@pytest.mark.parametrize("shape", [(4,), (4, 3), (EXPERTS, 4, 3)])
def test_transpose(shape):
    one = torch.randn(shape)
    expected = one if len(shape) == 1 else torch.empty(*shape[:-2], shape[-1], shape[-2])
    for place in torch.cartesian_prod(*map(torch.arange, shape)).tolist() if len(shape) > 1 else []:
        *before, row, column = place
        expected[(*before, column, row)] = one[tuple(place)]
    there_and_back(Transpose("x", "a"), {"a": one}, expected)


@pytest.mark.parametrize("heads", [None, "heads"])
@pytest.mark.parametrize("kept", [0, 2])
@pytest.mark.parametrize("tail", [(), (7,)])
def test_rotated_pairs(heads, kept, tail):
    groups, width = HEADS if heads else 1, kept + ROTATED
    one = torch.randn(groups * width, *tail)
    expected = one.clone()
    for group in range(groups):
        for pair in range(ROTATED // 2):
            for half in range(2):  # numbers that are rotated together: half of R apart in ours, neighbours in theirs
                mine = group * width + kept + half * (ROTATED // 2) + pair
                expected[group * width + kept + 2 * pair + half] = one[mine]
    there_and_back(Transpose("x", "a", rotated="rotated", heads=heads), {"a": one}, expected)


@pytest.mark.parametrize("tail", [(), (7,)])
def test_split_in_groups(tail):
    ours = {"a": torch.randn(HEADS * 2, *tail), "b": torch.randn(HEADS * 5, *tail)}
    rows = []
    for head in range(HEADS):
        rows += [ours["a"][head * 2 + row] for row in range(2)]
        rows += [ours["b"][head * 5 + row] for row in range(5)]
    there_and_back(Split("x", "a", "b", groups="heads"), ours, torch.stack(rows))


def test_split_of_parts_of_several_lengths():
    ours = {"a": torch.randn(6, 4), "b": torch.randn(2, 4), "c": torch.randn(3, 4)}
    rows = [row for name in "abc" for row in ours[name]]
    there_and_back(Split("x", "a", "b", "c"), ours, torch.stack(rows))


def test_split_along_the_last_dimension_of_transposed_matrices():
    ours = {"a": torch.randn(6, 4), "b": torch.randn(2, 4)}
    expected = torch.empty(4, 8)
    for column in range(4):
        for row in range(6):
            expected[column, row] = ours["a"][row, column]
        for row in range(2):
            expected[column, 6 + row] = ours["b"][row, column]
    there_and_back(Split("x", Transpose("", "a"), Transpose("", "b"), along=-1), ours, expected)


def test_split_of_vectors_is_along_their_only_dimension():
    ours = {"a": torch.randn(6), "b": torch.randn(2)}
    expected = torch.tensor([*ours["a"], *ours["b"]])
    there_and_back(Split("x", Transpose("", "a"), Transpose("", "b"), along=-1), ours, expected)


def test_split_number_by_number_of_experts():
    ours = {"gate": torch.randn(EXPERTS, 6, 4), "up": torch.randn(EXPERTS, 6, 4)}
    expected = torch.empty(EXPERTS, 4, 12)
    for expert in range(EXPERTS):
        for column in range(4):
            for row in range(6):
                expected[expert, column, 2 * row] = ours["gate"][expert, row, column]
                expected[expert, column, 2 * row + 1] = ours["up"][expert, row, column]
    rule = Split("x", Transpose("", "gate"), Transpose("", "up"), along=-1, groups="hidden")
    there_and_back(rule, ours, expected)


def test_split_number_by_number_of_the_biases_of_experts():
    ours = {"gate": torch.randn(EXPERTS * 6), "up": torch.randn(EXPERTS * 6)}
    expected = torch.empty(EXPERTS, 12)
    for expert in range(EXPERTS):
        for row in range(6):
            expected[expert, 2 * row] = ours["gate"][expert * 6 + row]
            expected[expert, 2 * row + 1] = ours["up"][expert * 6 + row]
    parts = Rename("", "gate", rows="experts"), Rename("", "up", rows="experts")
    there_and_back(Split("x", *parts, along=-1, groups="hidden"), ours, expected)


def test_split_of_which_a_part_is_rotated():
    ours = {"a": torch.randn(3, 2), "b": torch.randn(ROTATED, 2)}
    rows = [*ours["a"], *(ours["b"][half * (ROTATED // 2) + pair] for pair in range(ROTATED // 2) for half in range(2))]
    there_and_back(Split("x", "a", Transpose("", "b", rotated="rotated")), ours, torch.stack(rows))


def test_stack():
    ours = {"a": torch.randn(EXPERTS, 4, 3)}
    for expert in range(EXPERTS):
        rule = Stack("x.{e}", "a").bound({}, SIZES).entry_of(expert)
        assert rule.theirs == f"x.{expert}" and rule.shape(ours) == (4, 3)
        (pair,) = rule.pairs(torch.empty(4, 3), ours)
        assert torch.equal(pair.ours, ours["a"][expert])


ANATOMY = Anatomy({}, [{"feed_forward": "MLP"}, {"feed_forward": "Gated"}])
OURS = {"embedding.weight": torch.zeros(2), "blocks.0.a.weight": torch.zeros(2), "blocks.1.a.weight": torch.zeros(2)}
BOTH = (Rename("e", "embedding.weight"), Rename("l.{n}.*", "blocks.{n}.a.*"))


def test_each_tensor_has_its_rule():
    assert [rule.theirs for rule in bind(BOTH, OURS, ANATOMY)] == ["e", "l.0.weight", "l.1.weight"]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (BOTH[:1], "blocks.0.a.weight of the network is told by 0 rules"),
        (BOTH[1:], "embedding.weight of the network is told by 0 rules"),
        ((*BOTH, Rename("twice", "embedding.weight")), "embedding.weight of the network is told by 2 rules"),
        ((*BOTH, Stack("l.{n}.{e}", "blocks.{n}.a.weight")), "blocks.0.a.weight of the network is told by 2 rules"),
        ((BOTH[0], *where(lambda p: p["feed_forward"] == "MLP", BOTH[1])), "blocks.1.a.weight of the network"),
        ((*BOTH[1:], Split("x", "embedding.weight", "none")), "the network has no tensor none, which x"),
    ],
    ids=["none", "one", "twice", "stacked too", "where", "half"],
)  # fmt: skip
def test_a_tensor_that_no_rule_or_several_tell_is_an_error(rules, words):
    with pytest.raises(UserError, match=words):
        bind(rules, OURS, ANATOMY)


FAMILIES = ["llama", "gpt2", "deepseek_v3", "gpt_oss"]


def _shard_fully(network, mesh):
    for block in network.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)


def _shard_tensors(network, mesh):
    """By columns and rows in turn, whatever does not divide evenly too, and the rest whole on each rank."""
    number = 0
    for module in network.modules():
        for name, tensor in [*module.named_parameters(recurse=False)]:
            places = [Shard(number % tensor.dim())] if tensor.dim() > 1 else [Replicate(), Shard(0)][number % 2 :][:1]
            cut = distribute_tensor(torch.empty(tensor.shape), mesh, places)
            setattr(module, name, torch.nn.Parameter(cut, requires_grad=False))
            number += 1


def _load(mesh, folders):
    for folder in folders:
        for shard, meta in ((_shard_fully, True), (_shard_tensors, False)):
            _fill(Model(folder), mesh, shard, meta)


def _fill(model, mesh, shard, meta):
    with torch.device("meta" if meta else "cpu"):
        network = model.build()
    shard(network, mesh)
    if meta:
        network.to_empty(device="cpu")
    model.load_into(network)
    expected, cut = model.tensors(), 0
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, DTensor):
            cut += tensor.to_local().numel() < tensor.numel()
            tensor = tensor.full_tensor()
        assert torch.equal(tensor, expected[name]), name
    assert cut > len(expected) / 4, cut


@pytest.mark.slow
def test_a_sharded_network_is_filled_on_each_rank_from_the_files(peer, tmp_path):
    in_ranks(_load, [peer(name).folder for name in FAMILIES], folder=tmp_path)
