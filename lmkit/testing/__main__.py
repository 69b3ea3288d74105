"""`python -m lmkit.testing FILE_OR_NAME ...`: checks layers; the code is 0 if all hold, 1 if not, 2 for a mistake."""

import argparse
import json
import sys

from lmkit.errors import UserError
from lmkit.testing.command import check_all


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lmkit.testing", description="Checks layers against their contract."
    )
    parser.add_argument("targets", nargs="+", help="a plugin's file or folder, or the name of a class")
    parser.add_argument("--plugins", nargs="*", default=[], help="files, folders or modules that are imported before")
    parser.add_argument("--options", type=json.loads, default={}, help='of each class, as in {"hidden": 64}')
    arguments = parser.parse_args()
    try:
        return check_all(arguments.targets, arguments.plugins, arguments.options)
    except UserError as error:
        print(f"lmkit: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
