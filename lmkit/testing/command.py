"""`lmkit plugins check`: finds the classes that are meant, prints a table for each, and says whether all hold."""

from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser

from lmkit.errors import UserError
from lmkit.testing.given import given, kind_of
from lmkit.testing.kit import checks_of, place, results, table, title
from lmkit.testing.results import Result
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
    if len(classes) == 1:
        _read(classes[0], options or {})  # whose mistakes are then those of the command line
    failed = [cls.__name__ for cls in classes if not _conforms(cls, options or {})]
    if failed:
        print(f"{len(failed)} of {len(classes)} do not conform: {', '.join(failed)}")
    elif len(classes) > 1:
        print(f"all {len(classes)} conform")
    return 1 if failed else 0


def _conforms(cls: type, options: dict[str, Any]) -> bool:
    """Prints the table of a class; of one that cannot be constructed, or not checked, why."""
    try:
        subject = subject_of(cls, _read(cls, options))
        checks_of(cls)
    except UserError as error:
        print(place(cls))
        found = [Result("constructor", "fail", said=str(error))]
    else:
        print(title(subject), flush=True)
        found = [*results(subject)]
    print(table(found), end="\n\n", flush=True)
    return all(one.status != "fail" for one in found)


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
