"""Paths of the machine and passwords in addresses, taken out of what is shown to others."""

import re
from collections.abc import Mapping
from typing import Any

# not a lone backslash, which begins patterns
_ROOTED = r"(?:(?:file://|~[^/\\\s]*)?/|(?:\.\.[/\\])+|[A-Za-z]:[/\\]|\\\\)"
_WHOLE = re.compile(rf"{_ROOTED}[^\n]*")
_WITHIN = re.compile(rf"(?<![^\s=:,;'\"(\[|<]){_ROOTED}(?:[^/\\\s'\",;)\]]+[/\\])+([^/\\\s'\",;)\]]+)")
_LOGIN = re.compile(r"(?<=://)[^\s,'\"?]*@")
_QUERY = re.compile(r"(://[^\s,'\"?]*)\?[^\s,'\"]*")
_GLOB = re.compile(r"[*?\[]")


def shortened(value: Any) -> Any:
    """A recipe with the last part of each absolute path in place of the path; of a glob, from its first pattern on.

    An address is without what may hold a password or a key: all before an @, and all after a question mark.
    """
    if isinstance(value, Mapping):
        return {shortened(key): shortened(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shortened(each) for each in value]
    if not isinstance(value, str):
        return value
    value = _QUERY.sub(lambda found: found[1], _LOGIN.sub("", value))
    if _WHOLE.fullmatch(value):
        return _last(value)
    return _WITHIN.sub(lambda found: found[1], value)


def _last(path: str) -> str:
    parts = [part for part in re.split(r"[/\\]", path) if part]
    patterns = [number for number, part in enumerate(parts) if _GLOB.search(part)]
    return "/".join(parts[patterns[0] :] if patterns else parts[-1:]) or path
