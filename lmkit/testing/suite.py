"""What a check is. A new one is a function under `@check(...)` in a file of `checks/`, and an entry in its list there.

A check takes the class's subject, as `subject_of` gives it, and gives what it measured (or None). It raises `Failed`
where the class breaks the contract and `NotApplicable` where it has nothing to say. Any other exception is a failure as
well: what was made of the class could not be run.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from lmkit.errors import UserError
from lmkit.testing.results import Failed, NotApplicable, Result, clean
from lmkit.testing.subject import Subject, known_to_fail


@dataclass(frozen=True)
class Check:
    """A check of the contract.

    Attributes:
        name: in a few words, what holds if it passes.
        kinds: the kinds that it is for.
        do: what to do if it fails, one line.
        function: does it.
        runs: whether it asks if the class runs at all, so that `do` is the answer to any exception as well.
    """

    name: str
    kinds: tuple[type, ...]
    do: str
    function: Callable[[Any], str | None]
    runs: bool = False

    def __call__(self, subject: Subject) -> Result:
        """Does it, with a seed of its own, and leaves the random state as it was."""
        found = self._find(subject)
        reason = known_to_fail(subject.cls).get(self.name)
        if reason is None or found.status == "n/a":
            return found
        if found.status == "pass":
            return Result(self.name, "fail", found.figure, "it holds: take it out of the class's known_to_fail")
        return Result(self.name, "known", found.figure, reason)

    def _find(self, subject: Subject) -> Result:
        try:
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.manual_seed(0)
                return Result(self.name, "pass", self.function(subject) or "")
        except NotApplicable as reason:
            return Result(self.name, "n/a", "", str(reason))
        except Failed as failed:
            return Result(self.name, "fail", failed.figure, f"{failed.what}: {failed.do or self.do}")
        except UserError as error:
            return Result(self.name, "fail", "", str(error))
        except Exception as error:
            do = self.do if self.runs else "it stops here, mend that first"
            return Result(self.name, "fail", "", f"{clean(error)}: {do}")


def check(
    name: str, kinds: tuple[type, ...], do: str, runs: bool = False
) -> Callable[[Callable[[Any], str | None]], Check]:
    """Makes a check of a function; see `Check` for the arguments."""
    return lambda function: Check(name, kinds, do, function, runs)
