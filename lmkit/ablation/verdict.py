"""What an ablation says in sentences: which differences exceed the noise between seeds, and how that was decided."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from lmkit.ablation.effects import Effect
from lmkit.ablation.outcome import Outcome, Row
from lmkit.ablation.statistics import LEVEL, Comparison, Judgement

SAID: dict[Judgement, str] = {
    "better": "better by more than the noise between seeds",
    "worse": "worse by more than the noise between seeds",
    "undecided": "not decided, since seeds of the better one failed, and those that are left are its lucky ones",
    "within": "within the noise between seeds, which does not show that they are equal",
}

UNKNOWN = (
    "The noise between seeds is unknown, so no difference can be told from it: that takes two seeds or more of the "
    "baseline and of another arm. Give --seeds=3 or more; the runs that are there are kept."
)

UNTUNED = (
    "Seeds vary first weights, order of the text and dropout. What is not swapped, such as the learning rate, is the "
    "same for all arms and tuned for none; other sizes, lengths and texts may rank them otherwise."
)


class _Said(NamedTuple):
    """A comparison with its name, and what can be said of it."""

    name: str
    found: Comparison
    judgement: Judgement
    failures: str


def verdict(outcome: Outcome) -> str:
    """Which differences exceed the noise between seeds, and how that was decided."""
    seeds = outcome.plan.seeds
    arms = [_arm(row, seeds, outcome.rows[0].failed) for row in outcome.rows[1:]]
    if all(said.found.pairs < 2 for said in arms):
        return UNKNOWN
    lines = [f"Beside the baseline, {outcome.rows[0].planned.arm.name}:", "", *_listed(arms)]
    if outcome.effects:
        effects = [_effect(effect) for effect in outcome.effects]
        lines += ["", "Each value beside the first one of its axis, over all settings of the other axes:", ""]
        lines += _listed(effects)
    tested = sum(said.found.tested for said in arms)
    families = f"{tested} comparison{'s' if tested != 1 else ''} with the baseline"
    if outcome.effects:
        families += (
            f", and among themselves for the {sum(e.comparison.tested for e in outcome.effects)} over the settings"
        )
    method = (
        f"Method: paired t-test, two-sided, on the difference in {outcome.measure} of each seed's final validations; p "
        f"adjusted by Holm for {families}, so that the chance of any false alarm among them is at most {LEVEL}; the "
        "intervals are not adjusted."
    )
    return "\n".join([*lines, "", f"{method} {UNTUNED}"])


def measured_alike(outcome: Outcome) -> str:
    """A sentence, after a space, on data that differs beside the text that all arms are measured on; empty if none."""
    data = [planned.recipe.get("data", {}).get("init_args", {}) for planned in outcome.plan.arms]
    names = ("context", "documents", "tokenizer", "vocab_size")
    other = [f"data.{name}" for name in names if any(one.get(name) != data[0].get(name) for one in data)]
    if not other:
        return ""
    told = f" All are measured on the same validation text, but differ in {' and '.join(other)}"
    longer = ": longer rows show more of the text before a token" if "data.context" in other else ""
    return f"{told}{longer}."


def _arm(row: Row, seeds: int, failed_first: int) -> _Said:
    assert row.comparison is not None
    assert row.judgement is not None
    told = f"{row.summary.seeds} of {seeds} seeds, {row.failed} failed" if row.failed else ""
    told = told or (f"{failed_first} of the baseline failed" if failed_first else "")
    return _Said(row.planned.arm.name, row.comparison, row.judgement, told)


def _effect(effect: Effect) -> _Said:
    failed = effect.failed + effect.failed_first
    told = f"{failed} runs failed, {effect.comparison.pairs} whole seeds" if failed else ""
    judgement = effect.comparison.judge(effect.failed, effect.failed_first)
    return _Said(f"{effect.level} (beside {effect.first})", effect.comparison, judgement, told)


def _listed(every: Sequence[_Said]) -> list[str]:
    """A line for each thing that can be said."""
    lines = []
    for judgement, words in SAID.items():
        if told := [_told(said) for said in every if said.judgement == judgement]:
            lines.append(f"- {words}: {'; '.join(told)}")
    few = [_told(said) for said in every if said.judgement == "untested" and said.found.pairs < 2]
    same = [_told(said) for said in every if said.judgement == "untested" and said.found.pairs >= 2]
    if few:
        lines.append(f"- not tested, for want of two seeds that have ended in both: {'; '.join(few)}")
    if same:
        lines.append(
            f"- not tested, as all seeds give the same difference, so that there is no noise: {'; '.join(same)}"
        )
    return lines


def _told(said: _Said) -> str:
    found = said.found
    parts = ["" if math.isnan(found.difference) else f"{found.difference:+.4f}"]
    parts += [f"p {found.adjusted:.2g}" if found.tested else "", said.failures]
    told = ", ".join(part for part in parts if part)
    return f"{said.name} ({told})" if told else said.name
