"""What options of losses may be; each check tells a value that is out of its range."""

import math

from lmkit.errors import UserError


def check_positive(**options: float) -> None:
    """Looks whether options are numbers above 0.

    Raises:
        UserError: one is not.
    """
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise UserError(f"{name} is {value}: give a number above 0")


def check_label_smoothing(label_smoothing: float) -> None:
    """Looks whether a share of preferences may be taken for false.

    Raises:
        UserError: it may not.
    """
    if not 0 <= label_smoothing < 0.5:
        raise UserError(
            f"label_smoothing is {label_smoothing}, but it is the share of pairs whose preference is the wrong way "
            "round: give a number from 0 to below 0.5"
        )
