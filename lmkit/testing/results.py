"""What a check finds: it holds, it does not, or it has nothing to say about this class."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Status = Literal["pass", "fail", "n/a", "known"]


@dataclass(frozen=True)
class Result:
    """What one check found.

    Attributes:
        check: its name.
        status: whether it holds; `n/a` where it does not apply; `known` where it does not hold, as the class says in
            its `known_to_fail`.
        figure: what was measured, such as the largest difference; empty if nothing was.
        said: one line: what to do if it fails, why if it does not apply or is known to fail; empty if it holds.
    """

    check: str
    status: Status
    figure: str = ""
    said: str = ""


class Failed(Exception):
    """Raised by a check that does not hold.

    Args:
        what: what was seen, in a few words.
        figure: what was measured, if anything was.
        do: what to do; none for what the check says in general.
    """

    def __init__(self, what: str, figure: str = "", do: str | None = None) -> None:
        super().__init__(what)
        self.what, self.figure, self.do = what, figure, do


class NotApplicable(Exception):
    """Raised by a check that has nothing to say about a class; its text is the reason."""


def difference(one: Tensor, other: Tensor) -> float:
    """The largest absolute difference; infinite where the shapes differ or a number is none."""
    if one.shape != other.shape:
        return float("inf")
    if one.numel() == 0:
        return 0.0
    return (one.double() - other.double()).abs().max().nan_to_num(nan=float("inf")).item()


def share(one: Tensor, exact: Tensor) -> float:
    """The same as a share of the largest number, where that is above 1: rounding errors grow with the numbers."""
    largest = exact.detach().abs().max().item() if exact.numel() else 0.0
    return difference(one, exact) / max(largest, 1.0)


def hold(figure: float, limit: float, what: str, do: str | None = None) -> None:
    """Goes on if a difference is within its limit.

    Raises:
        Failed: it is not.
    """
    if not figure <= limit:
        raise Failed(f"{what} by {short(figure)}", short(figure), do)


def short(figure: float) -> str:
    """A difference as text: two figures, or a plain 0."""
    return f"{figure:.1e}" if figure else "0"


def counted(number: int, thing: str) -> str:
    """A number of things: 1 tensor, 2 tensors, 2 batches, 2 entries."""
    many = f"{thing}es" if thing.endswith("ch") else f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{number} {thing if number == 1 else many}"


def clean(error: BaseException) -> str:
    """An exception in one line of at most 200 characters."""
    torch_says = str(error).strip().splitlines() or [""]
    line = f"{type(error).__name__}: {torch_says[0]}" if torch_says[0] else type(error).__name__
    return line if len(line) <= 200 else f"{line[:199]}…"


def finite(tensor: Tensor) -> bool:
    """Whether all numbers are numbers."""
    return bool(torch.isfinite(tensor).all())
