"""Rows of Parquet files, and what their columns make of rows that had fewer keys."""

from collections.abc import Iterator
from typing import Any

from lmkit.data.corpus.files import SourceFile
from lmkit.data.rows.kinds import Row
from lmkit.errors import UserError
from lmkit.extra import needed

_ROWS = 1024  # that are held at a time


def read_parquet(file: SourceFile) -> Iterator[Row]:
    """A row for each row; texts in UTF-8, mappings without the nulls of `without_nulls`.

    Raises:
        UserError: pyarrow is not installed, or the file is damaged.
    """
    parquet = needed("pyarrow.parquet", f"{file.name} is Parquet, which", "parquet")
    number = 0
    try:
        with parquet.ParquetFile(file.path) as held:
            nested = [field.name for field in held.schema_arrow if "struct<" in str(field.type)]
            for batch in held.iter_batches(_ROWS):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(_mended(values, nested), f"{file.name}, row {number}")
    except (OSError, ValueError) as error:  # those of pyarrow are among them
        said = " ".join(str(error).split())
        raise UserError(f"cannot read {file.path} ({said}): repair or remove this file") from error


def without_nulls(value: Any) -> Any:
    """A value without the keys of null in its mappings.

    Columns give each mapping the keys of all, so that null means that there was none.
    """
    if isinstance(value, dict):
        return {key: without_nulls(part) for key, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


def _mended(values: dict[str, Any], nested: list[str]) -> dict[str, Any]:
    for name in nested:
        values[name] = without_nulls(values[name])
    return values
