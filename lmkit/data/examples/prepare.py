"""Makes the examples of a preparation, and keeps them in the cache, so that later runs find them there."""

import time
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lmkit.data.examples.making import Making
from lmkit.data.examples.preparation import ExamplePreparation
from lmkit.data.examples.store import ExampleStore
from lmkit.data.whole_folder import whole_folder


def prepare_examples(wanted: ExamplePreparation) -> Path:
    """Makes the examples unless they are there, says what there is, and returns their folder.

    Raises:
        UserError: nothing can be read, one side of the split is empty, or no space is left.
    """
    began, folder = time.perf_counter(), wanted.folder()
    cached = folder.is_dir()
    if not cached:
        with whole_folder(folder) as part:
            Making(wanted, part).run()
    seconds = time.perf_counter() - began
    train, validation = ExampleStore(folder / "train"), ExampleStore(folder / "validation")
    rank_zero_info(
        f'data "{wanted.source}": {len(train)} {wanted.maker.noun} to train, {len(validation)} to validate, '
        f"{'cached' if cached else 'prepared'} in {folder} ({seconds:.1f} s)"
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
