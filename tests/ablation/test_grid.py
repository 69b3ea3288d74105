"""How `--swap` is read, and the arms that come of it."""

import pytest

from lmkit.ablation.grid import Axis, grid, parse_swap
from lmkit.errors import UserError


@pytest.mark.parametrize(
    ("text", "keys", "values"),
    [
        ("a.norm=LayerNorm,RMSNorm", ("a.norm",), [("LayerNorm",), ("RMSNorm",)]),
        ("a.window=64, 128,null", ("a.window",), [("64",), ("128",), ("null",)]),
        ("a.betas=[0.9,0.95],[0.9,0.99]", ("a.betas",), [("[0.9,0.95]",), ("[0.9,0.99]",)]),
        (
            "a.norm={class_path: X, init_args: {e: [1, 2]}},Y",
            ("a.norm",),
            [("{class_path: X, init_args: {e: [1, 2]}}",), ("Y",)],
        ),
        ("data.source='a,b',c", ("data.source",), [("'a,b'",), ("c",)]),
        ("data.source=a=b,c", ("data.source",), [("a=b",), ("c",)]),
        ("n,p=[A,[1,2]],[B,{x: 1, y: 2}]", ("n", "p"), [("A", "[1,2]"), ("B", "{x: 1, y: 2}")]),
    ],
)
def test_a_swap_is_divided_outside_brackets_and_quotes(text, keys, values):
    assert parse_swap(text) == Axis(keys, tuple(values))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("norm", ["'norm'", "--swap model.network.norm=LayerNorm,RMSNorm"]),
        ("=A,B", ["'=A,B'", "give an option and its values"]),
        ("--a.b=A,B", ["give an option and its values"]),
        ("a=A,,B", ["a value is empty", "write null for none"]),
        ("a=", ["a value is empty"]),
        ("a=[A,B", ["a ] is missing"]),
        ("a=A],B", ["a ] closes nothing"]),
        ("a=[A},B", ["a } closes nothing"]),
        ("a='A,B", ["a ' is missing"]),
        ("a,b=A,B", ["A is not a value for each of the 2 keys", "[RMSNorm,Rotary]"]),
        ("a,b=[A,B],[C]", ["[C] is not a value for each"]),
        ("trainer.max_steps=1,2", ["trainer.max_steps", "--equal decides it"]),
        ("a,seed_everything=[1,2],[3,4]", ["seed_everything", "use --seeds"]),
    ],
)
def test_a_wrong_swap_is_told_in_a_line(text, parts):
    with pytest.raises(UserError) as told:
        parse_swap(text)
    assert all(part in str(told.value) for part in parts), told.value


def test_the_grid_is_the_product_with_the_first_values_first():
    arms = grid([parse_swap("m.norm=A,B"), parse_swap("m.dim,m.depth=[8,2],[4,4]")])
    assert [arm.name for arm in arms] == [
        "norm=A, dim=8, depth=2",
        "norm=A, dim=4, depth=4",
        "norm=B, dim=8, depth=2",
        "norm=B, dim=4, depth=4",
    ]
    assert arms[3].options == ("--m.norm=B", "--m.dim=4", "--m.depth=4")
    assert [arm.number for arm in arms] == [1, 2, 3, 4]
    assert arms[3].folder == "4-norm-B-dim-4-depth-4"


def test_names_are_short_and_differ():
    arms = grid(
        [
            parse_swap("m.network.norm={class_path: my.Norm, init_args: {eps: 1, inner: {class_path: a.B}}},null"),
            parse_swap("m.attention.norm=A,B"),
        ]
    )
    assert arms[0].name == "network.norm=Norm(eps=1, inner=B), attention.norm=A"
    assert arms[3].name == "network.norm=null, attention.norm=B"
    (one, _) = grid([parse_swap("window=64,m.window")])
    assert one.name == "window=64"
    nested = grid([parse_swap("a.b=1,2"), parse_swap("b=1,2")])
    assert nested[0].name == "a.b=1, b=1"


def test_folders_of_arms_are_one_word_each_and_differ():
    arms = grid([parse_swap("a.b=" + ",".join(f"{'x/y ' * 40}{n}" for n in range(3)))])
    assert len({arm.folder for arm in arms}) == 3
    assert all("/" not in arm.folder and " " not in arm.folder and len(arm.folder) < 80 for arm in arms)


@pytest.mark.parametrize(
    ("swaps", "part"),
    [
        ([], "nothing to compare"),
        (["a=A"], "nothing to compare"),
        (["a=A,B", "a=C,D"], "came 2 times: put all of its values into one --swap"),
        (["a,b=[A,B],[C,D]", "b=1,2"], "--swap b came 2 times"),
        (["a=A,B,A"], "A came 2 times: name it once"),
    ],
)
def test_a_grid_without_sense_is_refused(swaps, part):
    with pytest.raises(UserError, match=part.replace("-", "-")):
        grid([parse_swap(swap) for swap in swaps])
