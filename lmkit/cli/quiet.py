"""Silences what libraries say to everybody and what a user can do nothing about."""

import logging
import warnings


def quieten() -> None:
    """Filters known messages of Lightning and torch; all others are shown."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: (
            not any(
                hint in record.getMessage()
                for hint in ("litlogger", "litmodels", "Tip:", "GPU available", "TPU available", "HPU available")
            )
        )
    )
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
