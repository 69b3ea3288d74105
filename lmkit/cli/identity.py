"""The numbers in which a run of an ablation differs from its arm's recipe, and whether a folder's run is that one."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from lmkit.ablation.outcome import Run
from lmkit.cli.resume import differences
from lmkit.errors import UserError


def numbers(run: Run) -> dict[str, int]:
    """Seeds and steps, by their options."""
    recipe = run.planned.recipe
    found = {"seed_everything": run.seed, "trainer.max_steps": run.planned.steps}
    if "seed" in recipe["data"].get("init_args", {}):
        found["data.seed"] = recipe["data"]["init_args"]["seed"] + run.offset
    return found


def check_run(run: Run, kept: Path | None) -> None:
    """Compares the recipe that a run has kept with what it should be, since its name alone says little.

    Args:
        run: the one that is looked for.
        kept: the `config.yaml` of what is there; none if nothing has begun.

    Raises:
        UserError: it is the run of another recipe.
    """
    if kept is None:
        return
    wanted: dict[str, Any] = deepcopy(run.planned.recipe)
    wanted["trainer"].pop("enable_progress_bar", None)  # which an ablation leaves out
    for option, number in numbers(run).items():
        parent, _, name = option.rpartition(".")
        place = wanted[parent] if parent else wanted
        place.get("init_args", place)[name] = number
    other = list(differences("", yaml.safe_load(kept.read_text(encoding="utf-8")), wanted))
    if other:
        raise UserError(
            f"{kept.parent} is no run of this ablation ({other[0].removeprefix('.')}): move it away, or choose another "
            "folder by --out"
        )
