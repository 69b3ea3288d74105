"""What the tables, the sentence and the picture of an ablation say."""

import csv
import math

import pytest
import torch

from lmkit.ablation.budget import Cost
from lmkit.ablation.grid import grid, parse_swap
from lmkit.ablation.outcome import Run, gather
from lmkit.ablation.plan import Plan, Planned, from_json
from lmkit.ablation.plot import draw
from lmkit.ablation.report import page, plan_table, write_effects, write_runs, write_table
from lmkit.ablation.results import Result, read
from lmkit.ablation.verdict import verdict
from lmkit.errors import UserError

SEEDS = {"A": [1.60, 1.61, 1.62], "B": [1.50, 1.511, 1.52], "C": [1.605, 1.615, 1.60], "D": [1.80, 1.811, 1.82]}


def outcome(seeds=SEEDS, bits=True):
    arms = grid([parse_swap(f"m.norm={','.join(seeds)}")])
    cost = Cost(10_000, 6e7, 2048)
    plan = Plan("flops", 3, [Planned(arm, {"seed_everything": 0}, None, {}, cost, 440) for arm in arms], {})
    runs = []
    for offset in range(3):
        for planned, values in zip(plan.arms, seeds.values(), strict=True):
            if offset < len(values):
                value = values[offset]
                result = Result(3 * value, 2 * value, *((value, value - 0.01) if bits else (None, None)), 1000.0)
                runs.append(Run(planned, offset, offset, result))
            else:
                runs.append(Run(planned, offset, offset, None, "killed by SIGKILL"))
    return gather(plan, runs)


def test_the_sentence_tells_differences_from_noise():
    said = verdict(outcome())
    better, worse, within = said.split("\n\n")[1].splitlines()
    assert better.startswith("- better by more than the noise between seeds: norm=B (-0.0997, p ")
    assert worse.startswith("- worse by more than the noise between seeds: norm=D (+0.2003, p ")
    assert within.startswith(
        "- within the noise between seeds, which does not show that they are equal: norm=C (-0.0033"
    )
    assert "Holm for 3 comparisons" in said
    assert "paired t-test" in said


def test_one_seed_says_that_the_noise_is_unknown():
    for seeds in ({"A": [1.6], "B": [1.5]}, {"A": [1.6], "B": [1.5, 1.51]}, {"A": [], "B": []}):
        assert verdict(outcome(seeds)).startswith("The noise between seeds is unknown")


def test_an_arm_without_seeds_is_said_to_be_untested():
    found = outcome({**SEEDS, "C": []})
    assert "- not tested, for want of two seeds that have ended in both: norm=C (0 of 3 seeds, 3 failed)" in verdict(
        found
    )
    assert "Holm for 2 comparisons" in verdict(found)
    said = page(found, "lmkit ablate x")
    assert "9 of 12 runs are there" in said
    assert "- norm=C, seed 1: killed by SIGKILL" in said
    assert "0 of 3" in said


def test_the_tables_hold_what_was_reached(tmp_path):
    found = outcome()
    write_table(tmp_path / "t.csv", found)
    write_runs(tmp_path / "r.csv", found)
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == ["norm=A", "norm=B", "norm=C", "norm=D"]
    second = {key: value for key, value in rows[1].items() if key not in ("arm", "measure", "seconds_per_step")}
    numbers = {key: float(value) for key, value in second.items()}
    assert numbers["mean"] == pytest.approx(4.531 / 3)
    assert numbers["std"] == pytest.approx(0.01, rel=0.01)
    assert numbers["best_mean"] == pytest.approx(4.501 / 3)
    assert numbers["difference"] == pytest.approx(-0.299 / 3)
    assert (numbers["pairs"], numbers["failed"]) == (3, 0)
    assert numbers["low"] < -0.1 < numbers["high"] < 0
    assert numbers["flops"] == 6e7 * 2048 * 440
    assert numbers["tokens_per_second"] == 1000
    assert rows[0]["difference"] == ""
    with (tmp_path / "r.csv").open() as file:
        runs = list(csv.DictReader(file))
    assert len(runs) == 12
    assert {float(run["bits_per_byte"]) for run in runs if run["arm"] == "norm=D"} == {1.80, 1.811, 1.82}
    said = page(found, "lmkit ablate x")
    assert "| norm=B |" in said
    assert "|     10,000 |" in said
    assert "5.407e+13" in plan_table(found.plan)


def test_without_bytes_the_loss_is_compared():
    found = outcome(bits=False)
    assert found.measure == "nats a token"
    assert found.rows[0].summary.mean == pytest.approx(3 * 1.61)
    assert found.rows[0].best.mean == pytest.approx(2 * 1.61)


@pytest.mark.parametrize("seeds", [SEEDS, {"A": [1.6], "B": [1.5]}, {"A": [], "B": []}])
def test_a_picture_is_drawn_of_whatever_there_is(tmp_path, seeds):
    from matplotlib.image import imread

    draw(tmp_path / "plot.png", outcome(seeds))
    picture = torch.tensor(imread(tmp_path / "plot.png"))
    assert picture.shape[0] > 300
    assert (picture[..., :3].amin() < 0.1) and (picture[0, :, :3].amin() > 0.9)  # ink, and none cut at the top
    orange = ((picture[..., 0] > 0.95) & (picture[..., 2] < 0.2)).any().item()
    assert orange == any(row.judgement in ("better", "worse") for row in outcome(seeds).rows)


def test_a_plan_survives_its_file():
    plan = outcome().plan
    assert from_json(plan.as_json()) == plan


METRICS = """step,train/loss,val/loss,val/bits_per_byte,perf/tokens_per_second
0,5.0,,,100
1,4.0,,,300
1,,3.0,1.5,
2,4.0,,,500
3,4.0,,,
3,,3.5,1.75,
"""


def test_a_run_is_finished_when_its_last_step_is_validated(tmp_path):
    folder = tmp_path / "version_0"
    folder.mkdir()
    assert read(tmp_path, 4) is None
    (folder / "metrics.csv").write_text(METRICS)
    assert read(tmp_path, 4) == Result(3.5, 3.0, 1.75, 1.5, 400.0)
    assert read(tmp_path, 5) is None
    (folder / "metrics.csv").write_text("step,val/loss\n3,2.0\n")
    assert read(tmp_path, 4) == Result(2.0, 2.0, None, None, None)


def test_a_row_that_was_cut_is_no_result(tmp_path):
    folder = tmp_path / "version_0"
    folder.mkdir()
    (folder / "metrics.csv").write_text(METRICS[:-2])  # of which "3,,3.5,1.7" is left
    assert read(tmp_path, 4) is None


@pytest.mark.parametrize(
    ("seeds", "line"),
    [
        ({"A": [1.6, 1.61, 1.62], "B": [1.5, 1.5102]}, "- not decided, since seeds of the better one failed"),
        ({"A": [1.6, 1.61], "B": [1.5, 1.5102, 1.52]}, "- better by more than the noise between seeds"),
        ({"A": [1.6, 1.6102], "B": [1.7, 1.71, 1.72]}, "- not decided, since seeds of the better one failed"),
        ({"A": [1.6, 1.61, 1.62], "B": [1.7, 1.7102]}, "- worse by more than the noise between seeds"),
    ],
)
def test_an_arm_whose_seeds_failed_is_not_called_better(seeds, line):
    said = verdict(outcome(seeds))
    (told,) = [words for words in said.splitlines() if "norm=B (" in words]
    assert told.startswith(line), said
    failed = "2 of 3 seeds, 1 failed" if len(seeds["B"]) == 2 else "1 of the baseline failed"
    assert told.endswith(f", {failed})")
    assert "| 2 of 3, 1 failed |" in page(outcome(seeds), "")


def test_arms_that_seeds_do_not_move_are_told_so():
    said = verdict(outcome({"A": [1.6] * 3, "B": [1.5] * 3, "C": [1.6] * 3}))
    assert "- not tested, as all seeds give the same difference, so that there is no noise: norm=B (-0.1000)" in said
    assert "norm=C (+0.0000, p 1)" in said
    assert "two seeds or more" not in said


def test_bits_and_nats_are_not_mixed():
    plan, runs, *_ = outcome()
    runs[3] = runs[3]._replace(result=runs[3].result._replace(bits=None, best_bits=None))
    with pytest.raises(UserError, match="some runs left bits per byte and others only nats"):
        gather(plan, runs)


def test_effects_are_told_in_tables_and_sentence(tmp_path):
    """Norm B lessens the loss by 0.1 in both settings, and the seeds agree on it better than on single arms."""
    arms = grid([parse_swap("m.norm=A,B"), parse_swap("m.dim=8,4")])
    noise = [[0.0, 0.01, 0.02], [0.0, 0.012, 0.02], [0.001, 0.01, 0.021], [0.0, 0.01, 0.019]]
    means = [1.6, 1.7, 1.5, 1.6]
    plan = Plan("flops", 3, [Planned(arm, {}, None, {}, Cost(1, 6.0, 2), 4) for arm in arms], {})
    runs = [
        Run(planned, seed, seed, Result(9.0, 9.0, means[number] + noise[number][seed], 1.0, None))
        for number, planned in enumerate(plan.arms)
        for seed in range(3)
    ]
    found = gather(plan, runs)
    assert [(e.level, e.first, e.settings, e.comparison.pairs) for e in found.effects] == [
        ("norm=B", "norm=A", 2, 3),
        ("dim=4", "dim=8", 2, 3),
    ]
    for effect, expected in zip(found.effects, (-0.1, 0.1), strict=True):
        assert effect.comparison.difference == pytest.approx(expected, abs=1e-3)
        assert effect.comparison.judge(0, 0) in ("better", "worse")
    said = page(found, "lmkit ablate x")
    assert "| norm=B              | norm=A |        2 | 3 of 3 |    -0.1002 | -0.10" in said
    assert "Each value beside the first one of its axis, over all settings of the other axes:" in said
    assert "noise between seeds: norm=B (beside norm=A) (-0.1002, p " in said
    assert "Holm for 3 comparisons with the baseline, and among themselves for the 2 over the settings" in said
    write_effects(tmp_path / "e.csv", found)
    with (tmp_path / "e.csv").open() as file:
        assert [float(row["difference"]) for row in csv.DictReader(file)] == pytest.approx([-0.1, 0.1], abs=1e-3)


def test_a_failed_baseline_leaves_no_difference():
    rows = outcome({"A": [], "B": [1.5, 1.6]}).rows
    assert math.isnan(rows[1].comparison.difference)
