"""The kit itself: every built-in layer and the plugin conform, and the command and the pytest helper say so."""

import inspect
import json
import re
import subprocess
import sys
from functools import cache

import pytest
import torch

import lmkit.callbacks.throughput
from lmkit.callbacks import KeepRecipe
from lmkit.data.chat import Chat
from lmkit.data.chat_templates import ChatML, JinjaFile
from lmkit.data.corpus import Files
from lmkit.data.judgements import Judgements
from lmkit.data.labels import Labels
from lmkit.data.preferences import Preferences
from lmkit.data.rows import HubRows
from lmkit.data.text import Text
from lmkit.errors import UserError
from lmkit.kinds import KINDS
from lmkit.layers import (
    MLP,
    GatedDeltaNet,
    LatentAttention,
    MixtureOfExperts,
    ReLUSquared,
    RMSNorm,
    SelfAttention,
    SiLU,
)
from lmkit.network import CrossPreNorm, MultiToken
from lmkit.optim.schedules import WarmupCosine
from lmkit.testing import CHECKS, Result, check, check_all, conformance, subject_of, table
from lmkit.testing.command import _read
from lmkit.testing.given import VALUES, kind_of
from lmkit.testing.kit import checks_of, title
from lmkit.testing.targets import known, resolve
from lmkit.transforms import Checkpointing, Freeze
from tests.conftest import ROOT
from tests.testing import broken, broken_callbacks, broken_sources, broken_tasks, broken_transforms

SLOW = {"compiles whole"}
PLUGINS = sorted(
    [*(ROOT / "plugins").glob("*.py"), ROOT / "plugins" / "example-package" / "lmkit_ada_norm" / "ada_norm.py"]
)
UNCHECKED = {KeepRecipe, Text, HubRows, Chat, Preferences, Judgements, Labels}
"""The first is given what no recipe says; the others are checked with small texts, rows, and a saved data set."""
BUILT_IN = [cls for cls in known() if cls.__module__.startswith("lmkit.") and cls not in UNCHECKED]
SUBJECT = cache(subject_of)


@pytest.fixture(autouse=True)
def known_peak(monkeypatch):
    """Of the device, which takes a second to measure."""
    monkeypatch.setattr(lmkit.callbacks.throughput, "peak_flops", lambda *_: 1e12)


def cases(classes):
    for cls in classes:
        for one in checks_of(cls):
            marks = [pytest.mark.slow] if one.name in SLOW else []
            yield pytest.param(cls, one, id=f"{cls.__name__}-{one.name}", marks=marks)


@pytest.mark.parametrize(("cls", "one"), [*cases(BUILT_IN)])
def test_what_is_built_in_conforms(cls, one):
    result = one(SUBJECT(cls))
    assert result.status != "fail", f"{result.said} ({result.figure})"


def test_an_attention_that_does_not_say_that_it_follows_branches_is_not_judged_by_them():
    (found,) = [one(subject_of(GatedDeltaNet)) for one in checks_of(GatedDeltaNet) if one.name == "branches"]
    assert (found.status, found.said) == ("n/a", "it does not say that it follows branches")


@pytest.mark.parametrize("cls", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad])
def test_an_optimizer_of_torch_conforms(cls):
    assert [result for result in check(cls) if result.status != "pass"] == []


def test_a_rate_that_an_optimizer_of_torch_keeps_to_itself_is_found():
    assert [result.check for result in check(torch.optim.Rprop) if result.status == "fail"] == ["learning rate"]


@pytest.mark.parametrize("documents", ["joined", "separate"])
def test_text_conforms(few, documents, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    options = dict(option.removeprefix("--data.").split("=") for option in few)
    options |= {"vocab_size": 270, "context": 16, "batch_size": 4, "documents": documents}
    assert [result for result in check(Text, options) if result.status != "pass"] == []


ROWS = {
    Chat: {"prompt": "Who is {n}?", "completion": "Nobody, {n}."},
    Preferences: {"prompt": "Who is {n}?", "chosen": "Nobody, {n}.", "rejected": "Me."},
    Judgements: {"prompt": "Who is {n}?", "completion": "Nobody, {n}.", "label": True},
    Labels: {"text": "It is {n}.", "label": "{even}"},
}


@pytest.mark.parametrize("cls", ROWS)
def test_data_of_rows_conforms(cls, monkeypatch, tmp_path):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    rows = [
        {key: value.format(n=n, even=n % 2) if isinstance(value, str) else value for key, value in ROWS[cls].items()}
        for n in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = {"source": str(tmp_path / "rows.jsonl"), "context": 48, "batch_size": 2, "validation_fraction": 0.3}
    assert [result for result in check(cls, options) if result.status != "pass"] == []


def passes(cls, options):
    return [result for result in check(cls, options) if result.status != "pass"] == []


def test_what_reads_files_conforms_with_those_that_are_named(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text("One text.\n")
    (tmp_path / "texts" / "many.jsonl").write_text('{"text": "A line."}\n' * 9)
    found = {result.check: result for result in check(Files, {"path": str(tmp_path / "texts")})}
    assert found.pop("documents").figure == "10 documents"
    assert {name: result.said for name, result in found.items() if result.status != "pass"} == {
        "invalid bytes": "it has no option `path` that the kit could give a file of its own",
        "streams": "what it reads, 73 characters, is too little to tell",
    }
    (tmp_path / "own.jinja").write_text(ChatML().text)
    assert passes(JinjaFile, {"path": str(tmp_path / "own.jinja"), "end_of_turn": "<|im_end|>"})
    assert not passes(JinjaFile, {"path": str(tmp_path / "own.jinja")})  # by eos_token it does not end
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert set(before) == {tmp_path / "texts/one.txt", tmp_path / "texts/many.jsonl", tmp_path / "own.jinja"}


def test_a_data_set_on_disk_conforms(tmp_path):
    rows = [{"prompt": f"What is {number}?", "completion": "A number."} for number in range(9)]
    pytest.importorskip("datasets").Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    found = {result.check: result for result in check(HubRows, {"name": str(tmp_path / "saved")})}
    assert found.pop("rows").figure == "9 rows"
    assert [name for name, result in found.items() if result.status != "pass"] == ["broken rows"]
    assert found["broken rows"].status == "n/a"


def test_a_file_of_the_kits_that_a_source_cannot_read_is_told_and_not_judged():
    found = [result for result in check(broken_sources.Picky) if result.status != "pass"]
    assert {result.said for result in found} == {
        "it cannot read what the kit gives it as path (ValueError: no Parquet file): name that by --options"
    }
    assert len(found) == 7


def test_a_transform_conforms_with_its_options_and_is_not_judged_by_those_that_do_not_suit():
    assert passes(Freeze, {"names": ["blocks.*", "norm.*"], "but": ["*norm.weight"]})
    assert passes(Checkpointing, {"every": 2})
    everything = {result.check: result.said for result in check(Freeze, {"names": ["*"]}) if result.status != "pass"}
    assert everything == {"what is to learn learns": "nothing of the network is left to learn"}
    (said,) = {result.said for result in check(broken_transforms.Patterns) if result.status == "n/a"}
    assert said.startswith(
        "with patterns of the kit's choice it fails (UserError: 'checked', in Freeze's names, is the"
    )
    assert said.endswith("name that by --options")


def test_heads_for_later_tokens_conform_with_several_steps():
    assert passes(MultiToken, {"count": 3})


@pytest.mark.parametrize("file", PLUGINS, ids=[file.stem for file in PLUGINS])
def test_a_plugin_conforms(file, capsys):
    assert check_all([str(file)]) == 0, capsys.readouterr().out


OPTIONS = [
    {"kv_heads": 2, "window": 5, "qk_norm": RMSNorm, "gated": True, "bias": True},
    {"head_dim": 8, "scale": 0.3, "soft_cap": 5.0, "sinks": True, "out_bias": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_attention_conforms_with_its_options(options):
    subject = subject_of(SelfAttention, options)
    found = [one(subject) for one in checks_of(SelfAttention) if one.name not in SLOW]
    assert [result for result in found if result.status != "pass"] == []


@pytest.mark.parametrize(
    ("cls", "options"),
    [(MixtureOfExperts, {"bias": True, "shared": 1}), (LatentAttention, {"bias": True, "q_rank": 5})],
)
def test_layers_with_biases_conform(cls, options):
    subject = subject_of(cls, options)
    found = [one(subject) for one in checks_of(cls) if one.name not in SLOW]
    assert [result for result in found if result.status != "pass"] == []


@pytest.mark.parametrize("over", ["own", "heads"])
def test_attention_whose_norms_see_all_heads_conforms_and_is_not_cut(over):
    subject = subject_of(SelfAttention, {"kv_heads": 2, "qk_norm": RMSNorm, "qk_norm_over": over})
    found = [one(subject) for one in checks_of(SelfAttention) if one.name not in SLOW]
    (other,) = [result for result in found if result.status != "pass"]
    assert other.said == "not declared: it has no table `shards`"


def test_each_kind_has_checks_of_its_own_and_every_name_is_its_own():
    assert all(len(checks_of(kind.base)) >= 3 for kind in KINDS.values())
    assert len({one.name for one in CHECKS}) == len(CHECKS)


def test_a_layer_is_checked_at_the_first_size_that_suits_it():
    assert subject_of(broken.BrokenSmall).size.dim == 64
    with pytest.raises(UserError, match=r"BrokenSmall refuses every size up to dim 512: .* 1000 or more is needed"):
        subject_of(broken.BrokenSmall, {"least": 1000})
    with pytest.raises(UserError, match=r"BrokenSmall cannot be constructed: .*unexpected keyword argument 'most'"):
        subject_of(broken.BrokenSmall, {"most": 1000})
    with pytest.raises(
        UserError,
        match=r"KeepRecipe cannot be constructed: .*'parser' and 'config': name .*='{parser: ..., config: ",
    ):
        check(KeepRecipe)
    with pytest.raises(
        UserError, match=r"int is of no kind that can be checked: make it a subclass of one of Activation, Norm, "
    ):
        check(int)


def test_each_kind_of_a_recipe_has_a_subject_that_is_given_what_it_needs():
    for kind in KINDS.values():
        assert set(kind.given) <= set(VALUES)
        assert kind_of(kind.base) is kind.base


def test_what_changes_training_on_purpose_is_told_and_not_judged():
    (result,) = [result for result in check(broken_callbacks.Noise) if result.check == "leaves the run alone"]
    assert (result.status, result.said[:33]) == ("n/a", "it means to change training, here")
    ends = {result.check: result.said for result in check(broken_callbacks.Early) if result.status == "n/a"}
    assert ends == {"goes on": "with it, a run ends after 1 step"}


def test_a_task_of_other_batches_is_not_judged_by_rows_of_text():
    found = [result for result in check(broken_tasks.OtherBatches) if result.status == "n/a"]
    assert len(found) == 6
    assert {result.said for result in found} == {"its batches are Pair, of which the kit has none"}


def test_a_name_is_a_class_and_a_file_is_those_that_it_defines(tmp_path):
    assert resolve("RMSNorm") == [RMSNorm]
    assert resolve("lmkit.layers.norms.RMSNorm") == [RMSNorm]
    file = ROOT / "plugins" / "differential_attention.py"
    assert [cls.__name__ for cls in resolve(str(file))] == ["DifferentialAttention"]
    assert "DifferentialAttention" in {cls.__name__ for cls in resolve(str(file.parent))}
    (tmp_path / "empty_of_layers.py").write_text("from lmkit.layers import Norm\n")
    with pytest.raises(
        UserError,
        match=r"empty_of_layers\.py defines no class of a kind: make one a subclass of one of Activation, Norm, ",
    ):
        resolve(str(tmp_path / "empty_of_layers.py"))
    with pytest.raises(UserError, match=r"no class is called RSMNorm: did you mean RMSNorm"):
        resolve("RSMNorm")
    with pytest.raises(UserError, match=r"no plugin file nowhere\.py"):
        resolve("nowhere.py")


def test_the_command_prints_tables_and_gives_the_exit_code(capsys):
    assert check_all(["WarmupCosine", "Constant"]) == 0
    said = capsys.readouterr().out
    assert "WarmupCosine(), Schedule of lmkit.optim.schedules" in said
    assert "3 passed, 0 failed, 0 not applicable" in said
    assert said.endswith("all 2 conform\n")
    assert check_all(["BrokenHelp", "Constant"]) == 1
    said = capsys.readouterr().out
    assert "documented" in said
    assert said.endswith("1 of 2 do not conform: BrokenHelp\n")
    with pytest.raises(UserError, match="nothing to check"):
        check_all([])


UNBUILT = '''
"""Norms whose constructors raise what is no UserError."""

from torch import Tensor

from lmkit.layers import Norm


class Wide(Norm):
    """Asks for a width.

    Args:
        dim: width D, given by the network.
    """

    least = 64

    def __init__(self, dim: int) -> None:
        super().__init__()
        assert dim >= self.least, "it is too narrow"

    def forward(self, x: Tensor) -> Tensor:
        return x


class TooWide(Wide):
    """Asks for more than there is."""

    least = 1000


class Picky(Wide):
    """Asks for a word.

    Args:
        dim: width D, given by the network.
        mode: a word.
    """

    def __init__(self, dim: int, mode: str) -> None:
        super().__init__(dim)
        if mode != "kind":
            raise ValueError(f"mode is {mode}")


class Falls(Wide):
    """Does something wrong.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        raise RuntimeError("no such\\nthing")
'''


def test_what_cannot_be_constructed_is_a_row_and_stops_no_other(tmp_path, capsys):
    file = tmp_path / "unbuilt_norms.py"
    file.write_text(UNBUILT)
    assert check_all([str(file)]) == 1
    wide, too_wide, picky, falls, last = capsys.readouterr().out.strip().split("\n\n")
    assert wide.startswith("Wide(), Norm of ")
    assert ", at dim 64," in wide
    assert " 0 failed" in wide
    assert "constructor  fail    TooWide refuses every size up to dim 512: AssertionError: it is too narrow" in too_wide
    assert "unbuilt_norms.py:20)\n" in too_wide
    assert "ValueError: mode is checked (" in picky
    assert "name what suits it in place of what was chosen: --options='{mode: ...}'\n" in picky
    assert "Falls cannot be constructed: RuntimeError: no such thing (" in falls
    assert last == "3 of 4 do not conform: TooWide, Picky, Falls"
    assert (
        check_all([f"lmkit_plugins.unbuilt_norms.{name}" for name in ("Picky", "Wide")], options={"mode": "kind"}) == 1
    )
    picky, wide, last = capsys.readouterr().out.strip().split("\n\n")
    assert " 0 failed" in picky
    assert "Wide does not take the options {'mode': 'kind'}" in wide
    assert last == "1 of 2 do not conform: Wide"


def test_what_a_class_says_of_itself_is_known(monkeypatch, capsys):
    known = {"documented": "to be written"}
    monkeypatch.setattr(broken.BrokenHelp, "known_to_fail", known, raising=False)
    assert check_all(["BrokenHelp"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"documented +known +to be written\n", said)
    assert said.strip().endswith("applicable, 1 known to fail")
    assert outcome(conformance(broken.BrokenHelp), "documented") == ("XFailed", "to be written")
    known["constructor"] = "why"
    assert outcome(conformance(broken.BrokenHelp), "constructor")[1].startswith(
        "BrokenHelp: constructor: it holds: take it out of the class's known_to_fail"
    )
    known["constructor"] = ""
    with pytest.raises(UserError, match="known_to_fail of BrokenHelp gives no reason for 'constructor': write one"):
        conformance(broken.BrokenHelp)
    known["constructr"] = known.pop("constructor")
    with pytest.raises(UserError, match="'constructr', which is no check of it: did you mean constructor"):
        conformance(broken.BrokenHelp)
    assert check_all(["BrokenHelp"]) == 1
    assert "'constructr', which is no check of it" in capsys.readouterr().out


def test_an_option_without_default_is_chosen_and_said(monkeypatch):
    subject = subject_of(CrossPreNorm)
    assert title(subject).startswith(
        "CrossPreNorm(cross=CrossAttention), Block of lmkit.network.cross_block, at dim 24"
    )
    assert title(subject).endswith("with Rotary and ALiBi")
    monkeypatch.setattr(broken.BrokenSmall.__init__, "__defaults__", None)
    assert subject_of(broken.BrokenSmall).options == {"least": 2}


def test_options_of_the_command_line_are_read_as_a_recipe_is(capsys):
    assert check_all(["WarmupCosine"], options={"warmup": 10}) == 0
    assert "WarmupCosine(warmup=10)" in capsys.readouterr().out
    options = _read(MLP, {"hidden": 10, "activation": "ReLUSquared"})
    assert options["hidden"] == 10
    assert isinstance(options["activation"](), ReLUSquared)
    assert subject_of(MLP, options).make().up.weight.shape == (10, 24)
    with pytest.raises(UserError, match="WarmupCosine does not take the options"):
        check_all(["WarmupCosine"], options={"warm": 10})


@pytest.mark.slow
def test_the_command_runs_without_pytest_and_says_mistakes_in_one_line():
    program = "import sys; from lmkit.cli.main import main; sys.exit(main() + 10 * ('pytest' in sys.modules))"
    run = [sys.executable, "-c", program, "plugins", "check"]
    done = subprocess.run([*run, "WarmupCosine"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    wrong = subprocess.run([*run, "WarmupCosin"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("lmkit: error: no class is called WarmupCosin: did you mean WarmupCosine")
    assert wrong.stderr.count("\n") == 1


def test_a_table_is_aligned():
    found = [
        Result("one", "pass", "1.0e-12"),
        Result("another", "fail", "", "mend it"),
        Result("last", "n/a", "", "why"),
    ]
    assert table(found).splitlines() == [
        "  one      pass  1.0e-12",
        "  another  fail           mend it",
        "  last     n/a            why",
        "1 passed, 1 failed, 1 not applicable",
    ]


test_a_norm_of_others_conforms = conformance(broken.BrokenSmall)
test_a_known_fault_is_expected = conformance(
    broken.BrokenHelp, options={"slope": 2.0}, known={"documented": "to be written"}
)


def outcome(function, which):
    """How a case of a conformance test ends, and what it says."""
    (mark,) = function.pytestmark
    cls, one = next(case.values for case in mark.args[1] if case.values[1].name == which)
    try:
        function(cls, one)
    except BaseException as end:  # pytest's outcomes are none of Exception
        return type(end).__name__, str(end)
    return "passed", ""


def test_a_case_ends_as_its_check_does():
    name, said = outcome(conformance(broken.BrokenHelp), "documented")
    assert (name, said.partition(" describe")[0]) == ("Failed", "BrokenHelp: documented: no word about slope:")
    assert outcome(conformance(broken.BrokenHelp), "constructor") == ("passed", "")
    assert outcome(conformance(SiLU), "every parameter learns") == ("Skipped", "it has no parameters")
    assert outcome(conformance(SiLU, known={"documented": "why"}), "documented") == (
        "Failed",
        "documented holds: take it out of `known`",
    )
    assert outcome(conformance(broken.BrokenHelp, known={"documented": "why"}), "documented") == ("XFailed", "why")
    with pytest.raises(UserError, match="no check of WarmupCosine is called cache"):
        conformance(WarmupCosine, known={"cache": "why"})
    with pytest.raises(UserError, match="has no class to check"):
        conformance()
    with pytest.raises(UserError, match="is no class: give options by name"):
        conformance(RMSNorm, {"eps": 1e-4})
    with pytest.raises(UserError, match="Linear is of no kind that can be checked"):
        conformance(torch.nn.Linear)


def test_a_check_leaves_the_random_state_as_it_was():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    check(RMSNorm)
    assert torch.equal(before, torch.get_rng_state())


def test_the_broken_classes_are_not_swept():
    assert broken.BrokenSmall not in BUILT_IN
    assert all(not inspect.isabstract(cls) for cls in BUILT_IN)
