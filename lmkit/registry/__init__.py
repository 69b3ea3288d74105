"""The registry: plugins are imported, and the class tree is the list of what there is. No table of names.

A kind is a base class; whatever subclasses it can be named in YAML once it is imported. Plugins come from a recipe's
`plugins:` list (files, folders or modules) and from installed packages' entry points in the group `lmkit.plugins`.
"""

from lmkit.registry.loading import FAILURES, GROUP, PACKAGE, Failure, hint_of_failures, load_plugins, try_plugins
from lmkit.registry.tree import OWN, build, check_names, classes, concrete, is_own, near, origin, source

__all__ = [
    "FAILURES",
    "GROUP",
    "OWN",
    "PACKAGE",
    "Failure",
    "build",
    "check_names",
    "classes",
    "concrete",
    "hint_of_failures",
    "is_own",
    "load_plugins",
    "near",
    "origin",
    "source",
    "try_plugins",
]
