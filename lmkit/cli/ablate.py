"""`lmkit ablate`: compares parts by a grid of runs that are given the same FLOPs, and tells differences from noise."""

import importlib.util
import re
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lmkit.ablation.budget import KINDS, Equal
from lmkit.ablation.code import code_of
from lmkit.ablation.folder import Folder
from lmkit.ablation.grid import EXAMPLE, grid, parse_swap
from lmkit.ablation.outcome import Outcome
from lmkit.ablation.plan import Plan, Planned
from lmkit.ablation.report import effect_table, plan_table, result_table
from lmkit.ablation.verdict import verdict
from lmkit.cli.quiet import quieten
from lmkit.cli.recipes import read_recipes
from lmkit.cli.runs import ROOT
from lmkit.cli.study import SEEDS, check_same, decide_steps, prepare, rehearse
from lmkit.cli.trials import Trials
from lmkit.errors import RunError, UserError
from lmkit.kinds import check
from lmkit.registry import load_plugins

HELP = """usage: lmkit ablate --config RECIPE --swap KEY=V1,V2,... [--swap ...] [OPTIONS] [OPTIONS OF FIT]

Compares parts. Each --swap is an axis, and each choice of one value from every axis is an arm. Every arm is trained
with every seed by `lmkit fit`, in a process of its own: one at a time, or one on each GPU where several are visible.
The first arm, with the first value of each axis, is the baseline: it is trained for as many steps as the recipe says,
and the others for as many as cost the same. All arms are parsed and built before anything is trained.

options:
  --swap KEY=V1,V2         values of an option of fit: class names, numbers, null, {class_path: X, init_args: {...}}
  --swap K1,K2=[A,B],[C,D] the same for options that change together: K1=A with K2=B, then K1=C with K2=D
  --seeds N                seeds of each arm (default 3): weights and order of the text, seed_everything + 0, 1, ...
  --equal flops            what all arms are given the same of: training FLOPs (default), measured training time
          time | steps     (each arm is first timed for half a minute), or optimizer steps
  --out FOLDER             where all of it is kept (default runs/ablate-RECIPE)
  --keep_checkpoints       keep those of finished runs too, which take most of the room

All other options are given to fit as they are. The same command goes on with what was stopped, and repeats what failed;
with more --seeds it adds runs. What is found is in FOLDER/table.md, table.csv, runs.csv and plot.png, and, of several
axes, effects.csv. The full recipe of every arm is in FOLDER/ablation.json, and beside each run as config.yaml.

examples:
  lmkit ablate --config recipes/gpt-small.yaml --swap model.network.norm=LayerNorm,RMSNorm
  lmkit ablate --config recipes/gpt-small.yaml --swap model.network.position=Rotary,ALiBi,NoPosition \\
    --swap model.network.tied=true,false --seeds 5 --trainer.max_steps=200 --out runs/positions
  lmkit ablate --config recipes/gpt-small.yaml --equal time \\
    --swap 'model.network.dim,model.network.depth=[384,4],[288,7]'
"""


class Options(NamedTuple):
    """The command line of an ablation.

    Attributes:
        swaps: the values of `--swap`.
        seeds: number of seeds.
        equal: what all arms are given the same of.
        out: the folder; none for the default.
        keep_checkpoints: whether finished runs keep them.
        fit: all other options.
    """

    swaps: list[str]
    seeds: int
    equal: Equal
    out: str | None
    keep_checkpoints: bool
    fit: list[str]


def run(arguments: Sequence[str]) -> None:
    """Runs the ablation, or what is left of it.

    Raises:
        UserError: there is a mistake in the command line, the recipe, an arm or the data.
        RunError: a run failed; the others have ended.
    """
    if {"-h", "--help"} & set(arguments):
        print(HELP, end="")
        return
    options = read_options(arguments[1:])
    arms = grid([parse_swap(swap) for swap in options.swaps])
    check_extras()
    recipes = read_recipes(options.fit)
    loaded = load_plugins(recipes.plugins)
    check(loaded)
    quieten()
    folder = Folder(Path(options.out or f"{ROOT}/ablate-{recipes.name}"))
    inherited = folder.take()
    try:
        kept = folder.plan()
        rehearsals = rehearse(recipes.name, recipes.arguments, arms, kept, options.seeds)
        data = prepare(rehearsals, arms)
        planned = [Planned(a, r.recipe, *d, r.cost()) for a, r, d in zip(arms, rehearsals, data, strict=True)]
        code = partial(code_of, loaded, [rehearsal.recipe for rehearsal in rehearsals])
        plan = Plan(options.equal, options.seeds, planned, code())
        if kept:
            check_same(kept, plan, str(folder.path))
        elif plan.equal == "time":  # whose measurements stay if it is stopped
            folder.keep(plan)
        trials = Trials(folder, options.fit, rehearsals[0].devices(), inherited, options.keep_checkpoints, code)
        if plan.equal == "time":
            plan = trials.time(plan, kept)
        plan = decide_steps(plan, rehearsals)
        if kept:
            check_same(kept, plan, str(folder.path))
        folder.keep(plan)
        print(f"{plan_table(plan)}\n", flush=True)
        _tell(trials.run(plan, f"lmkit {shlex.join(arguments)}"), folder)
    finally:
        folder.release()


def read_options(arguments: Sequence[str]) -> Options:
    """Takes an ablation's own options out of a command line.

    Raises:
        UserError: one is wrong.
    """
    own: dict[str, str] = {"seeds": "3", "equal": "flops"}
    swaps, fit = list[str](), list[str]()
    pending = iter(arguments)
    for argument in pending:
        option, given, value = argument.partition("=")
        name = option.removeprefix("--")
        if option == "--keep_checkpoints":
            own[name] = value if given else "true"
        elif option in ("--swap", "--seeds", "--equal", "--out"):
            value = value if given else next(pending, "")
            if not value:
                raise UserError(f"{option} came without a value: `lmkit ablate --help` says what it takes")
            swaps += [value] if name == "swap" else []
            own[name] = value
        else:
            fit.append(argument)
    if not swaps:
        raise UserError(f"there is nothing to compare: give --swap, {EXAMPLE}")
    if not own["seeds"].isdecimal() or int(own["seeds"]) < 1:
        raise UserError(f"--seeds is {own['seeds']}: give a number of seeds, 1 or more")
    if int(own["seeds"]) > SEEDS:
        raise UserError(f"--seeds is {own['seeds']}, but there are {SEEDS} seeds: give a smaller number")
    if not any(re.match(r"(-c|--config|--model)($|=)", option) for option in fit):
        raise UserError("no recipe is named: give one, as in --config recipes/gpt-small.yaml")
    if own["equal"] not in KINDS:
        raise UserError(f"--equal is {own['equal']}: give {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    keep = own.get("keep_checkpoints", "false")
    if keep not in ("true", "false"):
        raise UserError(f"--keep_checkpoints is {keep}: give true or false")
    equal: Equal = own["equal"]  # type: ignore[assignment]
    return Options(swaps, int(own["seeds"]), equal, own.get("out"), keep == "true", fit)


def check_extras() -> None:
    """Looks for the packages that are needed when all is trained.

    Raises:
        UserError: one is missing.
    """
    missing = [name for name in ("matplotlib", "scipy") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"lmkit ablate needs {' and '.join(missing)}: pip install 'lmkit[ablate]'")


def _tell(outcome: Outcome, folder: Folder) -> None:
    """Prints what was found.

    Raises:
        RunError: a run failed.
    """
    effects = [effect_table(outcome), ""] if outcome.effects else []
    print("\n".join(["", result_table(outcome), "", *effects, verdict(outcome), ""]))
    files = f"table.csv, {'effects.csv, ' if effects else ''}runs.csv"
    print(f"{folder.path}/table.md, {files}, plot.png", flush=True)
    if outcome.failed:
        sys.stdout.flush()
        first = outcome.failed[0]
        raise RunError(
            f"{len(outcome.failed)} of {len(outcome.runs)} runs failed, first {first.planned.arm.name}, seed "
            f"{first.seed}: {first.error} ({folder.path}/table.md lists all; the same command tries them again)"
        )
