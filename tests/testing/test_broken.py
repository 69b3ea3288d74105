"""Each check fails on a layer that breaks what it looks for, and no other one does, but for those that must."""

from collections.abc import Iterator
from typing import Any

import pytest

from lmkit.layers import MixtureOfExperts
from lmkit.testing import CHECKS, check, subject_of
from lmkit.testing.kit import checks_of
from tests.testing import (
    broken,
    broken_callbacks,
    broken_chat_templates,
    broken_data,
    broken_divergences,
    broken_filters,
    broken_multi_tokens,
    broken_networks,
    broken_optimizers,
    broken_preference_losses,
    broken_references,
    broken_row_formats,
    broken_row_sources,
    broken_schedules,
    broken_seldom,
    broken_sources,
    broken_tasks,
    broken_transforms,
    drawing,
)

FILES = (
    broken,
    broken_seldom,
    drawing,
    broken_schedules,
    broken_networks,
    broken_optimizers,
    broken_tasks,
    broken_data,
    broken_callbacks,
    broken_multi_tokens,
    broken_transforms,
    broken_sources,
    broken_filters,
    broken_row_sources,
    broken_row_formats,
    broken_chat_templates,
    broken_preference_losses,
    broken_references,
    broken_divergences,
)

FUTURE = {"no future: tokens", "no future: gradients"}
CACHE = {"cache", "cache with a window"}  # the latter has a past too
NETWORK = FUTURE | {"bfloat16", "autocast bfloat16", "rows apart", "documents apart", "cache"}  # each builds one

FOUND: dict[str, set[str]] = {
    "BrokenNowhere": set(),
    "BrokenOptions": {"constructor"},
    "BrokenHelp": {"documented"},
    "BrokenDtype": NETWORK - {"autocast bfloat16"} | {"shape and dtype", "gradients"},
    "BrokenShape": NETWORK | {"shape and dtype"},
    "BrokenConstant": {"bfloat16"},
    "BrokenAutocast": {"autocast bfloat16"},
    "BrokenFuture": FUTURE | CACHE | {"branches"},
    "BrokenChunk": FUTURE | {"cache", "documents apart", "window", "branches"},
    "BrokenGradientLeak": {"no future: gradients", "gradients", "window", "branches"},
    "BrokenPosition": FUTURE | {"cache", "documents apart", "branches"},
    "BrokenRows": {"rows apart"},
    "BrokenRowsAlways": {"rows apart", "documents apart"},
    "BrokenDocuments": {"documents apart", "branches"},
    "BrokenLongDocuments": {"documents apart", "branches"},
    "BrokenBranches": {"branches"},
    "BrokenOffset": CACHE | {"documents apart", "position is heard", "branches"},
    "BrokenForgetting": CACHE | {"window"},
    "BrokenBlock": {"cache"},
    "BrokenWindow": {"cache with a window"},
    "BrokenGradient": {"gradients"},
    "BrokenDetached": {"gradients"},
    "BrokenDead": {"every parameter learns"},
    "BrokenUnused": {"every parameter learns"},
    "BrokenNoReset": NETWORK | {"filled after meta"},
    "BrokenReset": {"filled after meta"},
    "BrokenBuffer": {"state dict"},
    "BrokenTensor": {"state dict", "size on meta"},
    "BrokenRandom": {"repeats", "compiles whole"},
    "BrokenNoise": NETWORK - FUTURE - {"rows apart"} | {"repeats", "state dict", "shape and dtype"},
    "BrokenBreak": {"compiles whole"},
    "BrokenBranch": {"compiles whole", "size on meta"},
    "BrokenTable": {"two ranks"},
    "BrokenNames": {"two ranks"},
    "BrokenHeads": {"two ranks", "window", "position is heard"} | CACHE,
    "Centred": set(),
    "BrokenTrainingMean": FUTURE | {"documents apart"},
    "BrokenTrainingMask": FUTURE,
    "BrokenTrainingDocuments": {"documents apart"},
    "BrokenLongTrainingDocuments": {"documents apart"},
    "BrokenTrainingGradient": {"gradients"},
    "BrokenLongMean": FUTURE,
    "BrokenStatistic": FUTURE,
    "BrokenVeryLong": FUTURE | {"cache", "documents apart", "window", "branches"},
    "BrokenLongGradient": {"no future: gradients", "window"},
    "BrokenNextRow": {"rows apart"},
    "BrokenRowNumber": {"rows apart"},
    "BrokenOtherRow": {"rows apart"},
    "BrokenCacheRows": CACHE,
    "BrokenCacheDtype": {"cache"},
    "BrokenOwnCache": CACHE,
    "BrokenRoom": {"cache with a window"},
    "BrokenWider": {"window"},
    "BrokenNarrower": {"window"},
    "BrokenInPlace": {"input stays"},
    "BrokenDeaf": {"position is heard"},
    "BrokenOneWay": {"both directions"},
    "BrokenNoGrad": {"input stays"},
    "BrokenSingle": {"float32"},
    "BrokenSingleGradient": {"float32"},
    "BrokenView": {"shape and dtype"},
    "BrokenTypo": {"two ranks"},
    "BrokenGateName": {"two ranks"},
    "BrokenWarmUp": {"repeats"},
    "DroppedFeedForward": set(),
    "DroppedByFunction": set(),
    "DroppedNorm": set(),
    "NoisyNorm": set(),
    "RandomSlope": set(),
    "DroppedScores": set(),
    "DroppedBlock": set(),
    "DroppedEmbedding": set(),
    "NoisyRouter": set(),
    "BrokenCounter": {"function of the step"},
    "BrokenFall": {"function of the step"},
    "Bag": set(),
    "BrokenLogits": {"logits"},
    "BrokenContext": {"logits", "runs on meta"},
    "BrokenHead": {"head_weight"},
    "BrokenBatch": {"texts apart"},
    "BrokenPacking": {"documents of a row apart"},
    "BrokenCausal": {"no later token"},
    "BrokenPast": {"cache of tokens"},
    "BrokenOnMeta": {"runs on meta"},
    "Plain": set(),
    "BrokenGroups": {"two groups"},
    "BrokenUphill": {"lowers a loss"},
    "BrokenClosure": {"closure"},
    "BrokenDice": {"steps repeat"},
    "BrokenMemory": {"optimizer state"},
    "BrokenObject": {"optimizer state"},
    "BrokenRate": {"learning rate"},
    "BrokenDecay": {"weight decay"},
    "BrokenStill": {"no gradient, no step"},
    "BrokenStates": {"rehearses"},
    "BrokenMean": {"rows add up"},
    "BrokenCount": {"ignored tokens"},
    "BrokenEmpty": {"ignored tokens"},
    "BrokenNoGradient": {"gradients of the loss"},
    "BrokenValidation": {"validation repeats"},
    "BrokenRuns": {"training repeats"},
    "BrokenNumbering": {"predictions"},
    "BrokenLines": {"predictions"},
    "Sound": set(),
    "BrokenNumbers": {"tells of itself"},
    "BrokenBytes": {"tells of itself"},
    "BrokenTuple": {"batches"},
    "BrokenIds": {"batches"},
    "BrokenFallingDocuments": {"batches"},
    "SoundPreferences": set(),
    "SoundLabels": set(),
    "BrokenPairs": {"batches"},
    "BrokenShort": {"batches"},
    "BrokenClasses": {"batches"},
    "BrokenKind": {"batches"},
    "BrokenLoader": {"same order"},
    "BrokenOrder": {"same order"},
    "BrokenPlace": {"goes on with the data"},
    "BrokenHook": {"runs"},
    "BrokenDraws": {"leaves the run alone"},
    "BrokenNudge": {"leaves the run alone"},
    "BrokenForgets": {"goes on"},
    "BrokenPlain": {"goes on"},
    "BrokenAnotherNoise": {"goes on"},
    "Counter": set(),
    "Noise": set(),
    "Early": set(),
    "Residual": set(),
    "BrokenLength": {"steps", "steps of documents apart"},
    "BrokenTimid": {"steps"},
    "BrokenPeek": {"predicts unseen tokens"},
    "BrokenJoined": {"steps of documents apart"},
    "BrokenAsking": {"steps on meta"},
    "Scale": set(),
    "BrokenPrecision": {"gives a network"},
    "BrokenClaim": {"changes what it says"},
    "BrokenQuiet": {"changes what it says"},
    "BrokenByNumber": {"network on meta"},
    "BrokenDevice": {"network on meta"},
    "BrokenTurns": {"same seed, same network"},
    "BrokenDrawn": {"state goes over"},
    "BrokenIdle": {"what is to learn learns"},
    "BrokenLambda": {"pickles"},
    "Lines": set(),
    "BrokenHalves": {"documents"},
    "BrokenGiven": {"documents", "streams"},
    "BrokenReadings": {"documents repeat"},
    "BrokenDecode": {"invalid bytes"},
    "BrokenWhole": {"streams"},
    "BrokenReadListing": {"listing"},
    "BrokenAsked": {"listing"},
    "BrokenVersion": {"listing"},
    "BrokenSourceKey": {"told apart"},
    "BrokenSourceOption": {"told apart"},
    "BrokenOpen": {"pickles"},
    "Picky": set(),
    "Words": set(),
    "BrokenReason": {"answers"},
    "BrokenAnswer": {"answers"},
    "BrokenDivision": {"answers", "no memory", "pickles"},
    "BrokenSeen": {"no memory"},
    "BrokenFigures": {"reasons"},
    "BrokenFilterOption": {"told apart"},
    "BrokenFilterKey": {"told apart"},
    "BrokenUnpickled": {"pickles"},
    "JsonRows": set(),
    "BrokenRowValues": {"rows", "broken rows"},
    "BrokenRowNames": {"rows"},
    "BrokenRowHalves": {"rows", "broken rows"},
    "BrokenRowOrder": {"rows repeat"},
    "BrokenRowEnd": {"broken rows"},
    "BrokenRowLoss": {"broken rows"},
    "BrokenRowListing": {"listing"},
    "BrokenRowKey": {"told apart"},
    "BrokenRowOpen": {"pickles"},
    "AskAnswer": set(),
    "BrokenExample": {"declares"},
    "BrokenAliases": {"declares"},
    "BrokenGives": {"reads its row"},
    "BrokenMeaning": {"reads its row"},
    "BrokenRowChange": {"reads its row"},
    "BrokenRowMemory": {"reads its row"},
    "BrokenTypes": {"odd rows are faults"},
    "BrokenLaxness": {"odd rows are faults"},
    "BrokenFormatOption": {"told apart"},
    "BrokenFormatLambda": {"pickles"},
    "Talk": set(),
    "BrokenUpper": {"writes all"},
    "BrokenEnd": {"trains the assistant"},
    "BrokenUser": {"trains the assistant"},
    "BrokenPrompt": {"prompt"},
    "BrokenOver": {"turns stay"},
    "Over": set(),
    "BrokenPause": {"special tokens"},
    "BrokenStranger": {"refuses"},
    "BrokenBox": {"sandboxed"},
    "BrokenBound": {"pickles"},
    "Margins": set(),
    "BrokenLog": {"a loss for each"},
    "BrokenSlope": {"a loss for each"},
    "BrokenHalf": {"a loss for each"},
    "BrokenSides": {"prefers the chosen"},
    "BrokenOthers": {"prefers the chosen"},
    "BrokenCentre": {"pairs apart"},
    "BrokenPlaces": {"pairs apart"},
    "BrokenNeed": {"says what it needs"},
    "BrokenMismatch": {"says what it needs"},
    "BrokenUnpaired": {"says what it needs"},
    "BrokenAttached": {"rewards"},
    "BrokenReward": {"rewards"},
    "BrokenFunction": {"pickles"},
    "Copied": set(),
    "BrokenTracked": {"log-probabilities"},
    "BrokenPerToken": {"log-probabilities"},
    "BrokenTogether": {"examples apart"},
    "BrokenFollowing": {"stays"},
    "BrokenSleep": {"leaves the task alone"},
    "BrokenDraw": {"leaves the task alone"},
    "BrokenKept": {"pickles"},
    "Between": set(),
    "BrokenEntropyTerm": {"a divergence"},
    "BrokenTemperature": {"a divergence"},
    "BrokenLogarithm": {"finite"},
    "BrokenWay": {"falls on the way"},
    "BrokenAmong": {"tokens apart"},
    "BrokenBoundTemperature": {"pickles"},
}
SLOW = "compiles whole"


def named(name: str) -> type:
    return next(getattr(file, name) for file in FILES if hasattr(file, name))


def failures(cls: type, but: str = "", only: str = "") -> dict[str, str]:
    """The checks that fail, with what they say."""
    subject = subject_of(cls)
    found = [one(subject) for one in checks_of(cls) if one.name != but and only in ("", one.name)]
    return {result.check: result.said for result in found if result.status == "fail"}


def first_of_each_check() -> Iterator[Any]:
    """All names, those whose checks have each failed on one before as slow."""
    seen = set[str]()
    for name, checks in FOUND.items():
        yield pytest.param(name, marks=[pytest.mark.slow] if checks <= seen else [])
        seen |= checks


@pytest.mark.parametrize("name", first_of_each_check())
def test_what_is_broken_is_found_and_nothing_else(name):
    found = failures(named(name), but="" if SLOW in FOUND[name] else SLOW)
    assert found.keys() == FOUND[name]
    assert all(said and "\n" not in said for said in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, found in FOUND.items() if SLOW not in found])
def test_what_is_broken_otherwise_compiles(name):
    cls = named(name)
    assert all(one(subject_of(cls)).status == "pass" for one in checks_of(cls) if one.name == SLOW)


IMPORTING = '''
import numpy as np
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers import Activation


class BrokenImports(Activation):
    """Comes with another package."""

    def forward(self, x: Tensor) -> Tensor:
        return x * np.pi
'''


@pytest.fixture
def importing(tmp_path):
    (tmp_path / "broken_imports.py").write_text(IMPORTING)
    return tmp_path / "broken_imports.py"


def test_a_file_that_needs_another_package_cannot_be_exported(importing):
    from lmkit.testing.targets import resolve

    (cls,) = resolve(str(importing))
    assert failures(cls, but=SLOW) == {
        "export": "it uses numpy: let what the class uses come from its file, the standard library, torch, "
        "lmkit.layers, lmkit.network, lmkit.errors"
    }


def test_a_class_without_a_file_is_not_judged_by_its_imports():
    space = {"__name__": "nowhere"}
    exec(IMPORTING.replace("BrokenImports", "BrokenNowhereAtAll"), space)
    (result,) = (result for result in check(space["BrokenNowhereAtAll"]) if result.check == "export")
    assert (result.status, result.said) == ("n/a", "its source is not in a file")


TOGETHER = '''
import math

import numpy as np
from torch import Tensor

from lmkit.layers import At
from lmkit.network import PreNorm
from lmkit.optim import Schedule

HALF = math.sqrt(0.25)


def half(x: Tensor) -> Tensor:
    return HALF * x


class ExportedBlock(PreNorm):
    """Halves."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return half(super().forward(x, at))


class WithOthers(ExportedBlock):
    """Needs another package in a function that it calls."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return other(x)


def other(x: Tensor) -> Tensor:
    return x * np.pi


class BesideSchedule(Schedule):
    """Is constant.

    Args:
        steps: steps of the run, given by the task.
    """

    def __init__(self, steps: int) -> None:
        pass

    def __call__(self, step: int) -> float:
        return 1.0
'''


def test_only_what_a_class_uses_of_its_file_has_to_be_exported(tmp_path):
    from lmkit.testing.targets import resolve

    (tmp_path / "exported_together.py").write_text(TOGETHER)
    block, others, _ = resolve(str(tmp_path / "exported_together.py"))
    assert failures(block, only="export") == {}
    assert failures(others, only="export")["export"].startswith("it uses numpy: let what the class uses come from its")


@pytest.mark.parametrize("cls", [drawing.DroppedFeedForward, drawing.DroppedByFunction])
def test_what_draws_numbers_compiles(cls):
    assert failures(cls, only=SLOW) == {}


def test_every_check_has_something_that_it_fails_on():
    assert set().union(*FOUND.values(), {"export"}) == {one.name for one in CHECKS}


@pytest.mark.parametrize(
    ("name", "which", "said"),
    [
        ("BrokenOptions", "constructor", "**kwargs: float hides options from recipes and help: write each option"),
        ("BrokenHelp", "documented", "no word about slope: describe it in the class docstring"),
        ("BrokenFuture", "no future: tokens", "tokens from 1 on change outputs before them by"),
        ("BrokenChunk", "no future: tokens", "of 300 tokens, those from 127 on change outputs before them by"),
        ("BrokenRows", "rows apart", "row 1 read alone differs from the same row among others in training by"),
        ("BrokenLongDocuments", "documents apart", "documents of 40, 129, 131 tokens differ"),
        ("BrokenDead", "every parameter learns", "no gradient reaches scale: use it in forward"),
        ("BrokenNoReset", "filled after meta", "BrokenNoReset owns scale but has no reset_parameters(): write one"),
        ("BrokenNoReset", "cache", "BrokenNoReset owns scale but has no reset_parameters(): write one"),
        ("BrokenTensor", "state dict", "tables is a bare tensor, which is neither saved nor moved: register_buffer()"),
        ("BrokenNames", "two ranks", "shards names down, which the layer does not have: correct the name"),
        (
            "BrokenTypo",
            "two ranks",
            "shards names out.wieght, which the layer does not have: did you mean out.weight",
        ),
        (
            "BrokenGateName",
            "two ranks",
            "shards names gate.projection, which the layer does not have: did you mean gate",
        ),
        ("BrokenWider", "window", "with window=5, token 5 of 16 sees 6 tokens: give `window`"),
        ("BrokenNarrower", "window", "with window=5, token 5 of 16 sees 4 tokens: give `window`"),
        ("BrokenNextRow", "rows apart", "row 2 read alone differs from the same row among others in training by"),
        (
            "BrokenOwnCache",
            "cache",
            "pieces of (6, 1, 1, 4, 4) tokens of two texts in turns, each through a cache of",
        ),
        ("BrokenWarmUp", "repeats", "in training, a second forward of the same seed differs from the first by"),
        ("BrokenView", "shape and dtype", "heads in transposed memory: RuntimeError: view size is not compatible"),
        ("BrokenInPlace", "input stays", "a forward without gradients changes its input: make a new tensor"),
        ("BrokenSingle", "float32", "outputs are 50.0% away from those in float64: compute the same"),
        ("BrokenShape", "cache", "it stops here, mend that first"),
        ("BrokenHead", "head_weight", "logits read embedding.weight, norm.weight: compute logits from"),
        ("BrokenRate", "learning rate", "a group whose lr was set to 0 moves by"),
        ("BrokenObject", "optimizer state", "its state cannot be read without running code (UnpicklingError"),
        ("BrokenCount", "ignored tokens", "64 valid tokens are counted as 128 beside rows without targets: leave"),
        ("BrokenEmpty", "ignored tokens", "the loss is not finite: a batch, or a row, may have no valid token"),
        ("BrokenIds", "batches", "but vocab_size_used is 20: tell the largest id and one more"),
        ("BrokenPlace", "goes on with the data", "after a run went on from step 2, it sees other batches: begin"),
        ("BrokenDraws", "leaves the run alone", "it draws from a global random generator, or seeds it: draw by"),
        ("BrokenForgets", "goes on", "after a run went on, count of its state is not that of a run at once: keep"),
        ("BrokenPeek", "predicts unseen tokens", "step 1 sees the token that it predicts: it changes by"),
        (
            "BrokenClaim",
            "changes what it says",
            "it says 'nothing', but changes what learns (embedding.weight): say in",
        ),
        ("BrokenQuiet", "changes what it says", "it says 'learning', but changes names (logit_scale): say"),
        ("BrokenByNumber", "network on meta", "for a network of other numbers it gives other tensors: decide by names"),
        ("BrokenDevice", "network on meta", "number is not on the meta device: decide by names and shapes, never"),
        ("BrokenIdle", "what is to learn learns", "no gradient reaches idle: let gradients through"),
        ("BrokenHalves", "documents", "document 1 cannot be written in UTF-8: replace half characters by"),
        ("BrokenReadings", "documents repeat", "read again, document 1 is another one: read in a sorted order"),
        ("BrokenAsked", "listing", "it reads the documents for its listing: give an `Item"),
        ("BrokenReadListing", "listing", "it opens files of 103 bytes for its listing: give an `Item"),
        ("BrokenVersion", "listing", "it stays though the file has changed: tell the file's size and time of change"),
        ("BrokenSourceKey", "told apart", "with shouted True in place of False its key is the same: keep each option"),
        ("BrokenSourceOption", "told apart", "does not keep its option size, by which prepared texts are told apart"),
        ("BrokenReason", "answers", "is rejected for '': give a reason in one line"),
        ("BrokenDivision", "answers", "an empty text stops it (ZeroDivisionError: division by zero): give the"),
        ("BrokenSeen", "no memory", "asked again, it gives another answer to"),
        ("BrokenFigures", "reasons", "texts of one pattern are rejected for"),
        ("BrokenUpper", "writes all", "is not written as it came: "),
        ("BrokenEnd", "trains the assistant", "does not end by <|end|>: put the end of turn at its end"),
        ("BrokenUser", "trains the assistant", "5 spans for 2 messages of the assistant: put {% generation %}"),
        ("BrokenPrompt", "prompt", "a prompt ends by "),
        ("BrokenOver", "turns stay", "message 2 changes what is written of those before: write each message by itself"),
        ("BrokenPause", "special tokens", "<|pause|> is declared and not written: declare each"),
        ("BrokenStranger", "refuses", "a role that it does not know is not refused: leave it to"),
        ("BrokenBox", "sandboxed", "the template {{ ''.__class__.__mro__ }} is not refused: render by"),
        ("BrokenPlain", "goes on", "is truncated or not a checkpoint (UnpicklingError)"),
    ],
)
def test_what_is_said_names_what_to_mend(name, which, said):
    assert said in failures(named(name), only=which)[which]


@pytest.mark.parametrize(
    ("cls", "table", "said"),
    [
        (MixtureOfExperts, {"up": "experts", "gate": "experts", "out": "experts"}, None),
        (MixtureOfExperts, {}, "do not add up to the whole"),
        (broken.BrokenTable, {"up": "experts", "out": "experts"}, "is no stack of an even number of matrices"),
    ],
)
def test_experts_are_halved_as_stacks(monkeypatch, cls, table, said):
    monkeypatch.setattr(cls, "shards", table)
    found = failures(cls, only="two ranks")
    assert bool(found) == bool(said)
    assert (said or "") in found.get("two ranks", "")
