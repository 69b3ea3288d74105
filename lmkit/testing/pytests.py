"""The kit as tests of a package of one's own: each check of each class is one case of pytest."""

from collections.abc import Callable
from functools import cache
from typing import Any

from lmkit.errors import UserError
from lmkit.testing.given import kind_of
from lmkit.testing.kit import checks_of
from lmkit.testing.subject import no_kind
from lmkit.testing.subjects import subject_of
from lmkit.testing.suite import Check


def conformance(
    *classes: type, options: dict[str, Any] | None = None, known: dict[str, str] | None = None
) -> Callable[..., None]:
    """A test function of pytest, one case for each check: `test_it = conformance(MyNorm)`.

    Args:
        classes: concrete classes of kinds.
        options: what a recipe would name in `init_args`, of every class; defaults otherwise.
        known: checks that are known to fail, by name, each with the reason, beside those in the `known_to_fail` of a
            class; it is a failure if one holds after all.

    Raises:
        UserError: there is no class, one is of no kind, or a check that is known to fail is none of it.
    """
    import pytest  # noqa: PLC0415 (which the kit does without otherwise)

    if not classes:
        raise UserError("conformance() has no class to check: name one or more, as in conformance(MyNorm)")
    for cls in classes:
        if not isinstance(cls, type):
            raise UserError(f"{cls!r} is no class: give options by name, as conformance(MyNorm, options={{'eps': 1}})")
        if kind_of(cls) is None:
            raise UserError(no_kind(cls))
    expected = known or {}
    if unknown := sorted(expected.keys() - {one.name for cls in classes for one in checks_of(cls)}):
        raise UserError(f"no check of {', '.join(cls.__name__ for cls in classes)} is called {', '.join(unknown)}")
    subject = cache(lambda cls: subject_of(cls, options))
    cases = [pytest.param(cls, one, id=f"{cls.__name__}-{one.name}") for cls in classes for one in checks_of(cls)]

    @pytest.mark.parametrize(("cls", "one"), cases)
    def test_conformance(cls: type, one: Check) -> None:
        result = one(subject(cls))
        if result.status == "n/a":
            pytest.skip(result.said)
        if result.status == "known":
            pytest.xfail(result.said)
        if one.name in expected:
            if result.status == "pass":
                pytest.fail(f"{one.name} holds: take it out of `known`", pytrace=False)
            pytest.xfail(expected[one.name])
        if result.status == "fail":
            figure = f" ({result.figure})" if result.figure else ""
            pytest.fail(f"{cls.__name__}: {one.name}: {result.said}{figure}", pytrace=False)

    return test_conformance
