"""The row source that a recipe means by a text."""

from pathlib import Path

from lmkit.data.corpus.sources import STANDARD_LIBRARY
from lmkit.data.rows.files import RowFiles
from lmkit.data.rows.hub import HubRows, is_saved
from lmkit.data.rows.kinds import RowSource


def row_source_of(source: RowSource | str | Path, stdlib: type[RowSource]) -> RowSource:
    """The source that is meant: "stdlib" is the rows made of the standard library, any other text a path.

    A folder that `datasets` saved is read by `HubRows`, other files by `RowFiles`.

    Args:
        source: as a recipe has it.
        stdlib: the class of the rows made of the standard library, which depend on what they are for.

    Raises:
        UserError: the text is empty.
    """
    if isinstance(source, RowSource):
        return source
    if source == STANDARD_LIBRARY:
        return stdlib()
    return HubRows(str(source)) if source and is_saved(Path(source).expanduser()) else RowFiles(str(source))
