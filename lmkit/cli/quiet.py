"""Silences what libraries say to everybody and what a user can do nothing about."""

import logging
import sys
import warnings
from typing import Any


def quieten() -> None:
    """Filters known messages of Lightning and torch; all others are shown."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: (
            not any(
                hint in record.getMessage()
                for hint in (
                    "litlogger",
                    "litmodels",
                    "Tip:",
                    "GPU available",
                    "TPU available",
                    "HPU available",
                    "Automatic Mixed Precision (AMP)",
                    "`Trainer.fit` stopped",
                    "was configured so",
                )
            )
        )
    )
    warnings.showwarning = _in_a_line
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*dirpath has changed.*")
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint need to be provided.*")
    warnings.filterwarnings("ignore", message=".*It is recommended to use `.*sync_dist.*")


def _in_a_line(message: Warning | str, *_: Any, **__: Any) -> None:
    """Shows a warning without the line of code that raised it, which says nothing to a user."""
    print(f"lmkit: warning: {' '.join(str(message).split())}", file=sys.stderr)
