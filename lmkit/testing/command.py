"""`lmkit plugins check`: finds the classes that are meant, prints a table for each, and says whether all hold."""

from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser

from lmkit.errors import UserError
from lmkit.testing.given import given, kind_of
from lmkit.testing.kit import results, table, title
from lmkit.testing.subjects import subject_of
from lmkit.testing.targets import resolve


def check_all(targets: Sequence[str], plugins: Sequence[str] = (), options: dict[str, Any] | None = None) -> int:
    """Prints what the checks find, and gives the exit code: 0 if nothing fails, 1 if something does.

    Args:
        targets: plugin files, folders, or names of classes.
        plugins: files, folders or modules that are imported before, so that their classes have names.
        options: of every class that is checked, as a recipe's `init_args`.

    Raises:
        UserError: a target is nothing that can be checked.
    """
    if not targets:
        raise UserError("nothing to check: name a plugin's file or folder, or a class")
    classes = list(dict.fromkeys(cls for target in targets for cls in resolve(target, plugins)))
    failed: list[str] = []
    for cls in classes:
        subject = subject_of(cls, _read(cls, options or {}))
        print(title(subject), flush=True)
        found = [*results(subject)]
        print(table(found), end="\n\n", flush=True)
        if any(one.status == "fail" for one in found):
            failed.append(cls.__name__)
    if failed:
        print(f"{len(failed)} of {len(classes)} do not conform: {', '.join(failed)}")
    elif len(classes) > 1:
        print(f"all {len(classes)} conform")
    return 1 if failed else 0


def _read(cls: type, options: dict[str, Any]) -> dict[str, Any]:
    """Options as text or numbers, to what the constructor takes: names of classes become recipes, for one."""
    kind = kind_of(cls)
    if not options or kind is None:
        return {}
    parser = ArgumentParser(exit_on_error=False)
    first = len(given(kind))
    parser.add_class_arguments(cls, "part", skip={first}, instantiate=False, fail_untyped=False)
    try:
        parts = parser.instantiate(parser.parse_object({"part": options}, defaults=False)).part
    except Exception as error:
        raise UserError(
            f"{cls.__name__} does not take the options {options}: {' '.join(str(error).split())}"
        ) from error
    return {name: value for name, value in vars(parts).items() if name in options}
