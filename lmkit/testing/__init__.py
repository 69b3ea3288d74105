"""The conformance kit: whether a class keeps the contract of its kind, told one check a line.

From the command line `lmkit plugins check my_norm.py`; from Python `check(MyNorm)`; as tests of a package of one's
own `test_it = conformance(MyNorm)`. What a class computes, the kit cannot know: compare that with its formula.
"""

from lmkit.testing.checks import CHECKS
from lmkit.testing.command import check_all
from lmkit.testing.kit import check, table
from lmkit.testing.pytests import conformance
from lmkit.testing.results import Failed, NotApplicable, Result
from lmkit.testing.subject import Subject
from lmkit.testing.subjects import subject_of
from lmkit.testing.suite import Check

__all__ = [
    "CHECKS",
    "Check",
    "Failed",
    "NotApplicable",
    "Result",
    "Subject",
    "check",
    "check_all",
    "conformance",
    "subject_of",
    "table",
]
