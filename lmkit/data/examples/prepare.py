"""Makes the examples of a preparation, and keeps them in the cache, so that later runs find them there."""

from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lmkit.data.examples.making import Making
from lmkit.data.examples.preparation import ExamplePreparation
from lmkit.data.examples.store import ExampleStore
from lmkit.data.whole_folder import made_once


def prepare_examples(wanted: ExamplePreparation) -> Path:
    """Makes the examples unless they are there, says what there is, and returns their folder.

    Raises:
        UserError: nothing can be read, one side of the split is empty, or no space is left.
    """
    folder = wanted.folder()
    told = made_once(folder, lambda part: Making(wanted, part).run())
    train, validation = ExampleStore(folder / "train"), ExampleStore(folder / "validation")
    rank_zero_info(
        f'data "{wanted.source}": {len(train)} {wanted.maker.noun} to train, {len(validation)} to validate, {told}'
    )
    for store in (train, validation):
        if cut := store.facts["cut"]:
            rank_zero_info(f"  {cut} of the {wanted.maker.noun} in {store.folder.name} are cut, being too long")
        if rewritten := store.facts["rewritten"]:
            rank_zero_warn(
                f"  {rewritten} answers in {store.folder.name} are not learned: the chat template changes them as more "
                "messages come, as where thoughts are left out"
            )
    for line in train.facts["faults"]:
        rank_zero_warn(f"  {line}")
    return folder
